"""The operations to describe: views that have a contract, with their routes and docstrings."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

from flask import Flask

from project.errors import AppError, PreconditionFailed
from project.web import idempotency
from project.web.contract import Contract, View, contract_of


@dataclass(frozen=True)
class Operation:
    """A view that has a contract, with its route.

    :param path: with ``{name}`` for each argument.
    :param method: in lower case.
    :param raises: the errors in the docstring, each with its reason.
    """

    path: str
    method: str
    view: View
    contract: Contract
    summary: str
    description: str
    raises: Sequence[tuple[AppError, str]]

    @property
    def name(self) -> str:
        """The operation's unique name."""
        return self.view.__name__

    @property
    def arguments(self) -> list[str]:
        """The names of the path's parameters."""
        return re.findall("{(.+?)}", self.path)

    @property
    def condition(self) -> str | None:
        """The header of a conditional request that the operation supports; None: there is none."""
        if self.contract.etag and self.method == "get":
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
        module = sys.modules[self.view.__module__]
        about = (getdoc(module) or "").partition("\n")[0]
        return {"name": module.__name__.split(".")[-2], "description": about}


def find_operations(app: Flask) -> Iterator[Operation]:
    """Yield the operations of an app.

    :raises KeyError: a docstring names an error that does not exist.
    """
    errors = {kind.__name__: kind for kind in _below(AppError)}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        contract = contract_of(view)
        if contract is None:
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
        )


def _below(kind: type[AppError]) -> Iterator[type[AppError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def _sentence(reason: str) -> str:
    """Return the reason in a ``:raises`` line as a sentence, without the status."""
    words = re.sub(r" \(\d{3}\)", "", " ".join(reason.split()))
    return words[0].upper() + words[1:]
