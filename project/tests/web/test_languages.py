"""In which language a person gets the pages."""

from datetime import datetime
from typing import Any

from flask import render_template_string
from flask_babel import gettext, lazy_gettext, ngettext

from project.errors import Message
from project.tests.base import BaseTestCase
from project.web.languages import (
    format_date,
    format_datetime,
    format_number,
    in_language,
    translated,
)

TOO_LONG = Message(
    "Must have at most %(limit)s characters; this has %(length)s.", limit=9, length=10
)


class LanguageTest(BaseTestCase):
    """The person's choice, then the browser's, then English."""

    def language_of(self, accepted: str = "", chosen: str = "") -> str:
        """Return the ``lang`` of the sign-in page."""
        headers = {"Accept": "text/html", "Accept-Language": accepted}
        self.client.set_cookie("language", chosen)
        response = self.client.get("/sign-in", headers=headers)
        self.assertIn("Accept-Language", response.headers["Vary"])
        self.assertIn("Cookie", response.headers["Vary"])
        found: str = response.headers["Content-Language"]
        self.assertIn(f'<html lang="{found}"', response.text)
        self.assertIn("登录" if found == "zh-Hans" else "Sign in", response.text)
        return found

    def test_the_browser_chooses(self):
        for accepted, expected in {
            "": "en",
            "zh": "zh-Hans",
            "zh-CN,zh;q=0.9,en;q=0.8": "zh-Hans",
            "zh-Hans": "zh-Hans",
            "zh-SG": "zh-Hans",
            "zh-TW": "zh-Hans",
            "zh-Hant-HK": "zh-Hans",
            "en-GB,en;q=0.9,zh;q=0.8": "en",
            "fr,zh;q=0.5,en;q=0.3": "zh-Hans",
            "zh;q=0,en": "en",
            "fr": "en",
            "*": "en",
            "\xff;;q=x,,": "en",
        }.items():
            with self.subTest(accepted):
                self.assertEqual(self.language_of(accepted), expected)

    def test_the_choice_of_the_person_wins(self):
        self.assertEqual(self.language_of("en", chosen="zh_Hans"), "zh-Hans")
        self.assertEqual(self.language_of("zh-CN", chosen="en"), "en")
        self.assertEqual(self.language_of("zh-CN", chosen="klingon"), "zh-Hans")

    def test_the_api_is_english(self):
        response = self.client.post(
            "/users", json={"username": "a" * 129, "email": "x"}, headers={"Accept-Language": "zh"}
        )
        self.assertNotIn("Content-Language", response.headers)
        self.assertNotIn("Accept-Language", response.headers.get("Vary", ""))
        self.assertEqual(response.json["message"], "Invalid payload.")
        self.assertEqual(
            [each["message"] for each in response.json["errors"]],
            [
                "Must have at most 128 characters; this has 129.",
                "An email address must have an @-sign.",
            ],
        )

    def test_errors_of_a_form_are_translated(self):
        page = self.client.post(
            "/",
            data={"username": "a" * 129, "email": "x"},
            headers={"Accept": "text/html", "Accept-Language": "zh"},
        ).text
        self.assertIn("最多 128 个字符，当前为 129 个。", page)
        self.assertIn("邮箱地址必须包含 @。", page)

    def test_what_was_done_is_told_in_the_language(self):
        page = self.client.post(
            "/",
            data={"username": "Ada", "email": "ada@example.com"},
            headers={"Accept": "text/html", "Accept-Language": "zh"},
            follow_redirects=True,
        ).text
        self.assertIn("已添加 ada@example.com！", page)


class TextTest(BaseTestCase):
    """Texts in code and templates, outside a request too."""

    def in_chinese(self, template: str, **values: Any) -> str:
        """Render a template as a page in Chinese is."""
        with self.app.test_request_context(headers={"Accept-Language": "zh"}):
            environment: Any = self.app.jinja_env
            overlay = environment.in_language("zh_Hans")
            self.assertEqual(render_template_string("{{ language() }}"), "zh_Hans")
            return str(overlay.from_string(template).render(**values))

    def test_values_are_escaped(self):
        source = '{{ _("Remove %(name)s?", name=name) }}'
        self.assertEqual(self.in_chinese(source, name="<b>"), "删除 &lt;b&gt;？")
        self.assertEqual(
            self.in_chinese("{% trans name=name %}Remove {{ name }}?{% endtrans %}", name="<b>"),
            "删除 &lt;b&gt;？",
        )

    def test_texts_are_translated_once_for_all_requests(self):
        environment: Any = self.app.jinja_env
        with self.app.test_request_context():
            source = environment.in_language("zh_Hans").compile('{{ _("Save") }}', raw=True)
        self.assertIn("'保存'", source)
        self.assertNotIn("gettext", source)

    def test_a_text_that_is_not_constant(self):
        self.assertEqual(self.in_chinese("{{ _(text) }}", text="Save"), "保存")

    def test_unknown_texts_stay_english(self):
        self.assertEqual(self.in_chinese('{{ _("Never heard of") }}'), "Never heard of")

    def test_messages_with_values(self):
        self.assertEqual(TOO_LONG, "Must have at most 9 characters; this has 10.")
        with self.app.app_context(), in_language("zh_Hans"):
            self.assertEqual(translated(TOO_LONG), "最多 9 个字符，当前为 10 个。")
            self.assertEqual(
                translated(Message("Is too easy to guess. %(reason)s", reason=TOO_LONG)),
                "太容易被猜到。最多 9 个字符，当前为 10 个。",
            )
            self.assertEqual(translated("Must not be blank."), "不能为空。")
            self.assertEqual(translated("Of somebody else"), "Of somebody else")
            self.assertEqual(translated(""), "")
        self.assertEqual(translated(TOO_LONG), TOO_LONG)

    def test_a_language_for_a_block(self):
        lazy = lazy_gettext("Save")
        with self.app.test_request_context(headers={"Accept-Language": "zh"}):
            self.assertEqual([gettext("Save"), str(lazy)], ["保存", "保存"])
            with in_language("en"):
                self.assertEqual([gettext("Save"), str(lazy)], ["Save", "Save"])
                self.assertEqual(ngettext("%(num)d man", "%(num)d men", 2), "2 men")
            self.assertEqual(gettext("Save"), "保存")

    def test_dates_and_numbers(self):
        moment = datetime(2026, 11, 23, 15, 12, 58)
        with self.app.app_context():
            self.assertEqual(format_date(moment), "Nov 23, 2026")
            self.assertEqual(format_date("2026-11-23"), "Nov 23, 2026")
            self.assertEqual(format_datetime(moment), "Nov 23, 2026, 3:12\u202fPM UTC")
            self.assertEqual(format_number(10_000), "10,000")
            with in_language("zh_Hans"):
                self.assertEqual(format_date(moment), "2026年11月23日")
                self.assertEqual(
                    format_datetime("2026-11-23T15:12:58Z"), "2026年11月23日 15:12 UTC"
                )
                self.assertEqual(format_number(1234.5), "1,234.5")
