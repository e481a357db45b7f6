"""What is wrong with an address, in the person's language."""

import re

import email_validator

from project.api.users.email_words import in_words
from project.api.users.folding import check_email
from project.tests.base import BaseTestCase
from project.web.languages import in_language, translated

WRONG = [
    *("", "ada", "@x.com", "ada@", "a@b", "ada@example.com0", "ada.@example.com", ".ada@x.com"),
    *("ada@.x.com", "ada@x.com.", "ada@x.com-", "ada@-x.com", "a..b@x.com", "ada@x-.com"),
    *(
        "ada bee@x.com",
        "(ada)@x.com",
        "a,d;a@x.com",
        "a\\b@x.com",
        "ada@ex ample.com",
        "ada@e!.com",
    ),
    *("\u3000ada@x.com", "ada\u200b@x.com", "ada\u00a0@x.com", "ada@℀x.com", "ada@x·y.com"),
    *("ada@😀x.com", "ada@אx.com", "ada@xא.com", "ada@١x.com", "ada@\u0301x.com", "ada@xn--ü.com"),
    *("ada@xn--zzzzzzzzzz99.com", "ada@ab--c.com", f"ada@{'b' * 64}.com", f"ada@{'b' * 70}.com"),
    *(f"é@{'ü' * 64}.com", f"é@{'.'.join(['ü' * 20] * 9)}.com", f"ada@{'b.' * 130}com"),
    *("小明＠例子.中国", "小明﹫例子.中国"),
    *('"a b"@x.com', "Ada <ada@x.com>", "<ada@x.com", "<ada@x.com> x", 'Ada "x" y <a@x.com>'),
    *('"a"b <a@x.com>', "ada@[127.0.0.1]", "ada@[x]", "ada@[IPv6:::1%x]"),
]
NO_WORDS = re.compile(r"'[^']*'|U\+[0-9A-F]+|IPv[46]|[A-Z]{2,}[ A-Z]*|\b(Unicode|Punycode|L|R)\b")


class EmailWordsTests(BaseTestCase):
    """Each sentence of the library has a translation."""

    def reason(self, email: str) -> str:
        """Return why an address is refused."""
        with self.assertRaises(ValueError) as caught:
            check_email(email)
        reason: str = caught.exception.args[0]
        return reason

    def test_english_is_as_the_library_says(self):
        for email in WRONG:
            with self.subTest(email):
                with self.assertRaises(email_validator.EmailNotValidError) as caught:
                    email_validator.validate_email(email, check_deliverability=False)
                self.assertEqual(self.reason(email), str(caught.exception))

    def test_chinese_has_no_english_words(self):
        for email in WRONG:
            with self.subTest(email), in_language("zh_Hans"):
                text = translated(self.reason(email))

                self.assertNotRegex(NO_WORDS.sub("", text), "[A-Za-z]")

    def test_characters_stand_in_the_sentence(self):
        with in_language("zh_Hans"):
            text = translated(self.reason("ada bee(x@x.com"))

        self.assertEqual(text, "邮箱地址 @ 之前的部分包含无效字符：'('、空格。")

    def test_unknown_sentence_stays(self):
        for text in ["A new sentence.", "", "100 % new %(x)s"]:
            self.assertEqual(translated(in_words(text)), text)
