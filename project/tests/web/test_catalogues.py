"""Whether every text of the pages has a translation."""

import ast
import re
import unittest
from functools import cache
from typing import Any

from babel.messages import Catalog, Message

from project.web.catalogues import ERRORS, PROJECT, extract, is_complete, read
from project.web.languages import DEFAULT, LANGUAGES

PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|<[^>]+>|https?://\S+")


@cache
def found() -> Catalog:
    """Return the texts of templates and code."""
    return extract()


def texts(value: Any) -> list[str]:
    """Return the forms of a text, of which plurals have several."""
    return [value] if isinstance(value, str) else list(value)


class CatalogueTest(unittest.TestCase):
    """No text is without a translation; ``make messages`` collects new ones."""

    def each(self) -> list[tuple[Message, Message | None]]:
        """Return each text and its entry in each catalogue."""
        catalogues = [read(language) for language in LANGUAGES.keys() - {DEFAULT}]
        return [
            (text, catalogue.get(text.id, text.context))
            for catalogue in catalogues
            for text in found()
            if text.id
        ]

    def test_each_text_has_a_translation(self):
        missing = [text.id for text, entry in self.each() if not entry or not is_complete(entry)]
        self.assertEqual(missing, [], "Run `make messages`, and translate what it has added.")

    def test_none_is_a_guess(self):
        self.assertEqual([text.id for text, entry in self.each() if entry and entry.fuzzy], [])

    def test_placeholders_and_tags_are_kept(self):
        for text, entry in self.each():
            for translation in texts(entry.string) if entry and entry.string else ():
                with self.subTest(text.id):
                    expected = sorted(set(PLACEHOLDER.findall(texts(text.id)[-1])))
                    self.assertEqual(sorted(set(PLACEHOLDER.findall(translation))), expected)

    def test_nothing_is_left_over(self):
        known = {(each.id, each.context) for each in found()}
        for language in LANGUAGES.keys() - {DEFAULT}:
            left = [each.id for each in read(language) if (each.id, each.context) not in known]
            self.assertEqual(left, [], "Run `make messages`.")

    def test_no_error_for_people_is_an_f_string(self):
        found = [
            f"{file.relative_to(PROJECT)}:{node.lineno}"
            for file in PROJECT.rglob("*.py")
            if not {"tests", "openapi", "commands"} & {*file.relative_to(PROJECT).parts}
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", "")
            in {*ERRORS, "FieldError", "PydanticCustomError", "BadRow"}
            for argument in node.args
            if isinstance(argument, ast.JoinedStr)
        ]
        self.assertEqual(found, [], "Use a Message, which can be translated.")

    def test_texts_of_errors_and_libraries_are_found(self):
        known = {each.id for each in found()}
        for text in (
            "All Users",
            "Email address",
            "%(email)s was added!",
            "User does not exist",
            "Must not be blank.",
            "Must have at most %(limit)s characters; this has %(length)s.",
            "%(value)s was refused. %(reason)s",
            "An email address must have an @-sign.",
            "This is a very common password.",
        ):
            self.assertIn(text, known)
