"""Updates the catalogues: ``python -m project.web.catalogues``, or ``make messages``.

Texts are found where templates and code translate them, and where errors define their messages. The
libraries that check addresses and passwords have texts of their own, in English.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import email_validator.syntax
import wtforms.fields.choices
import zxcvbn.feedback
from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_from_file
from babel.messages.extract import extract_python as extract_calls
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract as extract_html

from project import errors
from project.web.languages import DEFAULT, FOLDER, LANGUAGES

PROJECT = Path(__file__).parents[1]
LIBRARIES: Any = (
    email_validator.syntax,
    sys.modules["email_validator.validate_email"],  # the package has a function of this name
    wtforms.fields.choices,
    zxcvbn.feedback,
)
ERRORS = [
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.AppError)
]
KEYWORDS: Any = DEFAULT_KEYWORDS | {
    "lazy_gettext": None,
    "lazy_ngettext": (1, 2),
    "FieldError": (2,),
    "Message": None,
    "PydanticCustomError": (2,),
    "WrongPassword": None,
    "abort": (2,),
    **dict.fromkeys(ERRORS),
}
NO_TEXT = "{reason}"  # pydantic's template for a text that is a Message


def extract_python(file: IO[bytes], keywords: Any, comments: Any, options: Any) -> Iterator[Any]:
    """Find the texts of a Python file: those in calls, and the messages of classes of errors."""
    yield from extract_calls(file, keywords, comments, options)
    file.seek(0)
    for node in ast.walk(ast.parse(file.read())):
        match node:
            case ast.ClassDef():
                for each in node.body:
                    match each:
                        case ast.Assign([ast.Name("message" | "reason")], ast.Constant(str(text))):
                            yield each.lineno, None, text, []
            # Babel does not find calls among the arguments of others.
            case ast.Call(ast.Name("EmailSyntaxError" | "Message"), [ast.Constant(str(text))]):
                yield node.lineno, None, text, []


def extract() -> Catalog:
    """Return all texts of the pages, without translations."""
    catalog = Catalog()
    methods: Any = [("tests/**", "ignore"), ("**.py", extract_python), ("**.html", extract_html)]
    options: Any = {"**.html": {"silent": "false"}}
    for name, _line, text, _comments, context in extract_from_dir(
        PROJECT, methods, options, KEYWORDS
    ):
        if text != NO_TEXT:
            _add(catalog, text, f"project/{name}", context)
    for module in LIBRARIES:
        method: Any = extract_python
        for _line, text, _comments, context in extract_from_file(method, module.__file__, KEYWORDS):
            _add(catalog, text, module.__name__, context)
    return catalog


def _add(catalog: Catalog, text: Any, place: str, context: str | None) -> None:
    catalog.add(text, locations=[(place, 0)], context=context)


def file_of(language: str) -> Path:
    """Return the catalogue's file of a language."""
    return FOLDER / language / "LC_MESSAGES" / "messages.po"


def read(language: str) -> Catalog:
    """Return the catalogue of a language."""
    with file_of(language).open("rb") as file:
        return read_po(file, locale=language)


def write(language: str, catalog: Catalog) -> None:
    """Write the catalogue of a language, without what is no longer used."""
    with file_of(language).open("wb") as file:
        write_po(
            file,
            catalog,
            width=100,
            sort_output=True,
            include_lineno=False,
            ignore_obsolete=True,
        )


def is_complete(message: Message) -> bool:
    """Return whether a text has a translation, and a plural all of its forms."""
    return all(message.string) if isinstance(message.string, tuple | list) else bool(message.string)


def update() -> None:
    """Add new texts to the catalogues, and remove those that are no longer used."""
    found = extract()
    for language in LANGUAGES.keys() - {DEFAULT}:
        catalog = read(language)
        catalog.update(found, no_fuzzy_matching=True, update_creation_date=False)
        write(language, catalog)
        missing = sum(1 for each in catalog if each.id and not is_complete(each))
        print(f"{language}: {len(catalog)} texts, {missing} without a translation")  # noqa: T201


if __name__ == "__main__":
    update()
