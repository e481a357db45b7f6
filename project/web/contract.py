"""What an endpoint takes and gives, said above it: ``@accepts``, ``@accepts_query``, ``@returns``.

The declaration does the work: it validates the input into the view's argument and serialises what
the view returns, so that a view only calls its service. It also stays on the view, as its
``contract``, from which ``project.web.openapi`` makes the API's description.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from operator import attrgetter
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, current_app, request
from orjson import Fragment
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from project.errors import AppError, FieldError, Invalid, UnsupportedInput
from project.web import envelope, preconditions
from project.web.body import current_request
from project.web.pagination import Page, invalid_parameters

View = Callable[..., Any]
Schema = TypeVar("Schema", bound=BaseModel)

ACCESS = {"scope", "sign_in"}
ORDER = "@require (or who else may call), @transactional, @accepts, @returns"
WRONG_TYPE = FieldError("Content-Type", "Must be application/json.")


@dataclass(frozen=True)
class Contract:
    """What is said above a view.

    :param query: the parameters of the query string; None: they are not looked at.
    :param body: the JSON body; None: there is none.
    :param body_types: the media types of a body that is a file; none: it is none.
    :param answer_types: likewise, of the answer.
    :param wrong_type: what a body of another content type raises.
    :param status: of the answer, when all goes well.
    :param message: a format string for the answer's ``message``; None: it has none.
    :param data: what the answer's ``data`` is, or holds a list of; None: it has none.
    :param list_name: under which name ``data`` holds a list; None: ``data`` is one object.
    :param location: a format string for the ``Location`` header; None: it is not sent.
    :param etag: whether the answer has an ``ETag``.
    :param token: whether the answer has an ``auth_token``.
    :param scope: what the caller must be allowed to do when access is protected; None: nothing.
    :param sign_in: whether the caller must be known, however open access is.
    :param transactional: whether what the view writes is one transaction.
    :param idempotent: whether an ``Idempotency-Key`` is heeded.
    """

    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_types: tuple[str, ...] = ()
    answer_types: tuple[str, ...] = ()
    wrong_type: type[AppError] = UnsupportedInput
    status: int = 200
    message: str | None = None
    data: type[BaseModel] | None = None
    list_name: str | None = None
    location: str | None = None
    etag: bool = False
    token: bool = False
    scope: str | None = None
    sign_in: bool = False
    transactional: bool = False
    idempotent: bool = False

    @property
    def is_restricted(self) -> bool:
        """Whether not everybody may call the view."""
        return self.scope is not None or self.sign_in


def contract_of(view: View) -> Contract | None:
    """Return what is said above a view; None: nothing is."""
    return getattr(view, "contract", None)


def declare(view: View, **facts: Any) -> None:
    """Add to a view's contract; ``wraps`` has brought along what the decorators below have said.

    :param facts: fields of ``Contract``.
    :raises TypeError: at import: the decorators of the view are in another order than ``ORDER``.
    """
    below = contract_of(view) or Contract()
    is_access = facts.keys() <= ACCESS
    if below.transactional and not is_access or "transactional" in facts and below.is_restricted:
        raise TypeError(f"{view.__qualname__}: the order of the decorators is {ORDER}.")
    view.contract = replace(below, **facts)  # type: ignore[attr-defined]


def moves_files(**facts: Any) -> Callable[[View], View]:
    """Say of a view that reads its body, or writes its answer, itself what these are.

    :param facts: ``body_types``, ``answer_types`` and ``data`` of ``Contract``.
    """

    def decorate(view: View) -> View:
        declare(view, **facts)
        return view

    return decorate


def accepts(
    schema: type[BaseModel], wrong_type: type[AppError] = UnsupportedInput
) -> Callable[[View], View]:
    """Give the view the JSON body as ``body``.

    :param wrong_type: what to raise when the body is of another content type; 415 by default.
    :raises Invalid: the body is not JSON, not an object, or breaks a rule of the schema (400).
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Any:
            if not request.is_json:
                raise wrong_type(errors=[WRONG_TYPE])
            return view(body=validate(schema, _read_json()), **kwargs)

        declare(wrapper, body=schema, wrong_type=wrong_type)
        return wrapper

    return decorate


def accepts_query(schema: type[BaseModel]) -> Callable[[View], View]:
    """Give the view the query string's parameters as ``query``.

    :raises Invalid: a parameter is unknown, repeated or wrong (400).
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Any:
            return view(query=_read_query(schema), **kwargs)

        declare(wrapper, query=schema)
        return wrapper

    return decorate


def returns(
    schema: type[BaseModel],
    *,
    status: int = 200,
    message: str | None = None,
    location: str | None = None,
    etag: bool = True,
    prerendered: bool = False,
) -> Callable[[View], Callable[..., Response]]:
    """Answer with the object that the view returns.

    :param schema: its fields, read from the object's attributes, are the answer's ``data``.
    :param message: a format string, in which ``{0.email}`` is the returned object's email.
    :param location: likewise, the path of the returned object for the ``Location`` header.
    :param etag: whether the object's version becomes the answer's ``ETag``; a GET that names it in
        ``If-None-Match`` is answered 304, without the object.
    :param prerendered: whether the object holds its JSON as ``json``, rendered by the database.
    """
    serialise: Callable[[Any], Any] = _prerendered if prerendered else _serialiser(schema)

    def decorate(view: View) -> Callable[..., Response]:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Response:
            item = view(**kwargs)
            text = message.format(item) if message else None
            response = envelope.success(serialise(item), text, status)
            if location:
                response.headers["Location"] = location.format(item)
            if etag:
                response.set_etag(preconditions.etag(item.version))
                if preconditions.is_known(item.version):
                    response.status_code, response.data = 304, b""
            return response

        declare(wrapper, data=schema, status=status, message=message, location=location, etag=etag)
        return wrapper

    return decorate


def returns_message(message: str) -> Callable[[View], Callable[..., Response]]:
    """Answer with a message about the object that the view returns, and nothing of the object.

    :param message: a format string, in which ``{0.email}`` is the returned object's email.
    """

    def decorate(view: View) -> Callable[..., Response]:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Response:
            return envelope.success(message=message.format(view(**kwargs)))

        declare(wrapper, message=message)
        return wrapper

    return decorate


def returns_token(message: str, status: int = 200) -> Callable[[View], Callable[..., Response]]:
    """Answer with the access token that the view returns."""

    def decorate(view: View) -> Callable[..., Response]:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Response:
            return envelope.success(message=message, status=status, auth_token=view(**kwargs))

        declare(wrapper, message=message, status=status, token=True)
        return wrapper

    return decorate


def returns_page(
    schema: type[BaseModel], name: str, *, prerendered: bool = False
) -> Callable[[View], Callable[..., Response]]:
    """Answer with the page of objects that the view returns.

    ``data`` holds them under ``name``, and ``next``: the cursor of the page that follows, or null;
    and ``total``, where it was counted.
    The ``Link`` header leads there as well (RFC 8288, relation ``next``).

    :param prerendered: whether the rows hold their JSON as ``json``, rendered by the database.
    """
    serialise_all = _prerendered_list if prerendered else _list_serialiser(schema)

    def decorate(view: View) -> Callable[..., Response]:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Response:
            page: Page = view(**kwargs)
            data: dict[str, Any] = {name: serialise_all(page.rows)}
            data["next"] = page.next
            if page.total is not None:
                data["total"] = page.total
            response = envelope.success(data)
            if page.next:
                asked = current_request()
                query = _next_query(asked.args.to_dict(), page.next)
                response.headers["Link"] = f'<{asked.path}?{query}>; rel="next"'
            return response

        declare(wrapper, data=schema, list_name=name)
        return wrapper

    return decorate


_encode = lru_cache(maxsize=64)(urlencode)  # no more: it holds what people search for


def _next_query(parameters: dict[str, str], cursor: str) -> str:
    """Return the query string of the next page; a cursor needs no encoding."""
    query = _encode(tuple({**parameters, "cursor": "_"}.items()))
    return query.replace("cursor=_", f"cursor={cursor}")


def validate(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """Return the values as an object of the schema.

    :raises Invalid: a value breaks a rule; ``errors`` names each (400).
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise Invalid(errors=[FieldError(_field(d), d["msg"]) for d in details]) from error


def validate_query(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """Return parameters of a query string as an object of the schema.

    :raises Invalid: a parameter breaks a rule; the message and ``errors`` name each (400).
    """
    try:
        return validate(schema, values)
    except Invalid as error:
        raise invalid_parameters(error.errors) from error


def _field(detail: ErrorDetails) -> str:
    """Return the field that is to blame; a rule about several names one in its context."""
    return str(detail["loc"][0] if detail["loc"] else detail["ctx"]["field"])


def _read_json() -> dict[str, Any]:
    try:
        value = current_app.json.loads(request.get_data())
    except ValueError as error:
        raise Invalid(errors=[FieldError("body", f"Is not JSON: {error}.")]) from error
    if not isinstance(value, dict):
        raise Invalid(errors=[FieldError("body", "Must be a JSON object.")])
    return value


def _read_query(schema: type[Schema]) -> Schema:
    args = current_request().args
    repeated = [name for name, values in args.lists() if len(values) > 1]
    if repeated:
        raise invalid_parameters([FieldError(name, "Must not be repeated.") for name in repeated])
    return validate_query(schema, args.to_dict())


def _prerendered(row: Any) -> Fragment:
    return Fragment(row.json)


def _prerendered_list(rows: Sequence[Any]) -> Fragment:
    return Fragment(f"[{','.join([row.json for row in rows])}]")


def _serialiser(schema: type[BaseModel]) -> Callable[[Any], Any]:
    """Return a function that makes a dict of the schema's fields from an object.

    No validation: what comes from our own database was checked on its way in.
    """
    names = tuple(schema.model_fields)
    read = attrgetter(*names)
    return lambda item: dict(zip(names, read(item), strict=True))


def _list_serialiser(schema: type[BaseModel]) -> Callable[[Sequence[Any]], Any]:
    serialise = _serialiser(schema)
    return lambda rows: [serialise(row) for row in rows]
