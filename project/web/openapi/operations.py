"""The operations to describe: views that have a contract, with their routes and docstrings.

A feature whose bodies and answers are not those of the JSON API registers their form.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, NamedTuple

from flask import Flask

from project.errors import AppError, PreconditionFailed
from project.web import idempotency
from project.web.contract import Contract, View, contract_of
from project.web.error_handlers import Renderer

Json = dict[str, Any]
Errors = Iterator[tuple[AppError, str]]
_FORMS = "openapi_forms"


@dataclass(frozen=True)
class Operation:
    """A view that has a contract, with its route.

    :param path: with ``{name}`` for each argument.
    :param method: in lower case.
    :param raises: the errors in the docstring, each with its reason.
    :param form: None: that of the JSON API.
    """

    path: str
    method: str
    view: View
    contract: Contract
    summary: str
    description: str
    raises: Sequence[tuple[AppError, str]]
    form: "Form | None"

    @property
    def name(self) -> str:
        """The operation's unique name."""
        return f"{self.form.name}_{self.view.__name__}" if self.form else self.view.__name__

    @property
    def arguments(self) -> list[str]:
        """The names of the path's parameters."""
        return re.findall("{(.+?)}", self.path)

    @property
    def condition(self) -> str | None:
        """The header of a conditional request that the operation supports; None: there is none."""
        has_etag = self.form.has_etag(self) if self.form else self.contract.etag
        if has_etag and self.method == "get":
            return "If-None-Match"
        guarded = any(isinstance(error, PreconditionFailed) for error, _ in self.raises)
        return "If-Match" if guarded else None

    @property
    def headers(self) -> list[str]:
        """The request headers that the operation reads."""
        key = idempotency.HEADER if self.contract.idempotent else None
        return [name for name in (self.condition, key) if name]

    @property
    def tag(self) -> dict[str, Any]:
        """The tag: the name of the feature's folder, described by its module of views."""
        if self.form:
            return {"name": self.form.name, "description": self.form.description}
        module = sys.modules[self.view.__module__]
        about = (getdoc(module) or "").partition("\n")[0]
        return {"name": module.__name__.split(".")[-2], "description": about}


class Answer(NamedTuple):
    """A success in a form of its own.

    :ivar schema: the name of its schema; None: it has no body.
    :ivar headers: those of ``responses.describe_headers`` that it has.
    """

    status: int
    schema: str | None = None
    example: Any = None
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Form:
    """What the operations of a feature take and answer that has no envelope.

    :param name: the operations' tag, and the first word of their names.
    :param description: what the tag is.
    :param schemas: by their names, to which the other parameters refer.
    :param media_types: of bodies; the first is that of answers.
    :param error: the name of the schema of errors.
    :param render: makes the answer to an error.
    :param has_etag: returns whether the answer of a GET has an ``ETag``, and may be a 304.
    :param query: returns the parameters of an operation's query string.
    :param body: returns the name of the body's schema and an example; None: it takes none.
    :param answers: returns the successes of an operation.
    :param errors: yields the errors beside those of credentials, headers and docstrings.
    :param id_pointer: where an answer has the id of what was added, as a JSON pointer.
    """

    name: str
    description: str
    schemas: Mapping[str, Json]
    media_types: Sequence[str]
    error: str
    render: Renderer
    has_etag: Callable[[Operation], bool]
    query: Callable[[Operation], Sequence[Json]]
    body: Callable[[Operation], tuple[str, Json] | None]
    answers: Callable[[Operation], Sequence[Answer]]
    errors: Callable[[Operation], Errors]
    id_pointer: str


def register_form(app: Flask, prefix: str, form: Form) -> None:
    """Describe the views with a contract at and below a path in a form of their own.

    :param prefix: as that of ``error_handlers.register_prefix``.
    """
    forms_of(app)[prefix] = form


def forms_of(app: Flask) -> dict[str, Form]:
    """Return the registered forms, by prefix."""
    forms: dict[str, Form] = app.extensions.setdefault(_FORMS, {})
    return forms


def find_operations(app: Flask) -> Iterator[Operation]:
    """Yield the operations of an app.

    :raises KeyError: a docstring names an error that does not exist.
    """
    errors = {kind.__name__: kind for kind in _below(AppError)}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        contract = contract_of(view)
        # With a double slash, it is the same again, for clients that send one too many.
        if contract is None or "//" in rule.rule:
            continue
        (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        text, *raises = re.split(r"^:raises (\w+): ", getdoc(view) or "", flags=re.MULTILINE)
        summary, _, description = text.strip().partition("\n")
        yield Operation(
            path=re.sub("<(.+?)>", r"{\1}", rule.rule),
            method=method.lower(),
            view=view,
            contract=contract,
            summary=summary.rstrip("."),
            description=description.strip(),
            raises=[
                (errors[name](), _sentence(reason))
                for name, reason in zip(raises[::2], raises[1::2], strict=True)
            ],
            form=forms_of(app).get("/" + rule.rule.split("/")[1]),
        )


def _below(kind: type[AppError]) -> Iterator[type[AppError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def _sentence(reason: str) -> str:
    """Return the reason in a ``:raises`` line as a sentence, without the status."""
    words = re.sub(r" \(\d{3}\)", "", " ".join(reason.split()))
    return words[0].upper() + words[1:]
