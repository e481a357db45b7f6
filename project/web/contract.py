"""Decorators that declare an endpoint's input and output: ``@accepts``, ``@returns`` and others.

They validate the input into the view's arguments and serialise what the view returns, so a view
only calls its service. They also record both as the view's ``contract``, from which
``project.web.openapi`` generates the API's description.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial, wraps
from operator import attrgetter
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, current_app, request
from orjson import Fragment
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from project.errors import AppError, FieldError, Invalid, Message, UnsupportedInput
from project.web import envelope, preconditions
from project.web.body import current_request
from project.web.fields import REPEATABLE
from project.web.pagination import Page, invalid_parameters

View = Callable[..., Any]
Schema = TypeVar("Schema", bound=BaseModel)

ACCESS = {"scope", "sign_in"}
ORDER = "@require (or who else may call), @transactional, @accepts, @returns"
PACKED = FieldError("Content-Encoding", "Must be identity: the body must not be compressed.")
WRONG_TYPE = FieldError("Content-Type", "Must be application/json.")

_TEMPLATES = {
    "extra_forbidden": Message("Extra inputs are not permitted"),
    "greater_than_equal": Message("Input should be greater than or equal to %(ge)s"),
    "int_parsing": Message("Input should be a valid integer, unable to parse string as an integer"),
    "int_type": Message("Input should be a valid integer"),
    "less_than_equal": Message("Input should be less than or equal to %(le)s"),
    "missing": Message("Field required"),
    "string_too_long": Message("String should have at most %(max_length)s characters"),
    "string_too_short": Message("String should have at least %(min_length)s character"),
    "string_type": Message("Input should be a valid string"),
}
"""The sentences of pydantic that pages translate, by the type of the error."""


@dataclass(frozen=True)
class Contract:
    """What a view accepts and returns.

    :param query: the parameters of the query string; None: they are ignored.
    :param body_types: the media types of a body that is a file; empty: it is not a file.
    :param answer_types: the media types of a response that is a file; empty: it is not a file.
    :param row: the schema of a row of the file; None: the file has no rows.
    :param rows_name: the name under which a JSON file has its rows.
    :param example: an example of a file without rows.
    :param message: a format string for the response's ``message``; None: it has none.
    :param data: the schema of the response's ``data`` or of its items; None: it has none.
    :param list_name: the name under which ``data`` has a list; None: ``data`` is one object.
    :param location: a format string for the ``Location`` header; None: it is not sent.
    :param scope: the scope that the caller needs when access is protected; None: none.
    :param sign_in: whether the caller must be authenticated even when access is open.
    """

    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_types: tuple[str, ...] = ()
    answer_types: tuple[str, ...] = ()
    row: type[BaseModel] | None = None
    rows_name: str = "rows"
    example: str | None = None
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


def contract_of(view: View) -> Contract | None:
    """Return the contract of a view; None: it has none."""
    return getattr(view, "contract", None)


def declare(view: View, **facts: Any) -> None:
    """Add to a view's contract; ``wraps`` has copied what the decorators below declared.

    :param facts: fields of ``Contract``.
    :raises TypeError: at import: the decorators of the view are in another order than ``ORDER``.
    """
    below = contract_of(view) or Contract()
    is_access = facts.keys() <= ACCESS
    is_restricted = below.scope is not None or below.sign_in
    if below.transactional and not is_access or "transactional" in facts and is_restricted:
        raise TypeError(f"{view.__qualname__}: the order of the decorators is {ORDER}.")
    view.contract = replace(below, **facts)  # type: ignore[attr-defined]


def transfers_files(**facts: Any) -> Callable[[View], View]:
    """Declare the types of a body that the view reads itself, or of a response that it writes.

    :param facts: ``body_types``, ``answer_types``, ``row``, ``rows_name``, ``example`` and
        ``data`` of ``Contract``.
    """

    def decorate(view: View) -> View:
        declare(view, **facts)
        return view

    return decorate


def accepts(
    schema: type[BaseModel], wrong_type: type[AppError] = UnsupportedInput
) -> Callable[[View], View]:
    """Pass the JSON body to the view as ``body``.

    :param wrong_type: the error for a body of another content type; 415 by default.
    :raises Invalid: the body is not a JSON object, or violates the schema (400).
    """

    def read() -> BaseModel:
        if not request.is_json:
            raise wrong_type(errors=[WRONG_TYPE])
        return validate(schema, _read_json())

    return _pass_as("body", read, body=schema, wrong_type=wrong_type)


def accepts_query(schema: type[BaseModel]) -> Callable[[View], View]:
    """Pass the query string's parameters to the view as ``query``.

    :raises Invalid: a parameter is unknown, repeated or invalid (400).
    """
    return _pass_as("query", partial(_read_query, schema), query=schema)


def _pass_as(name: str, read: Callable[[], Any], **facts: Any) -> Callable[[View], View]:
    """Pass what ``read`` returns to the view under this name."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Any:
            kwargs[name] = read()
            return view(**kwargs)

        declare(wrapper, **facts)
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
) -> Callable[[View], View]:
    """Respond with the object that the view returns.

    :param schema: its fields, read from the object's attributes, are the response's ``data``.
    :param message: a format string, in which ``{0.email}`` is the returned object's email.
    :param location: a format string for the ``Location`` header: the object's path.
    :param etag: whether the object's version becomes the response's ``ETag``. A GET that names it
        in ``If-None-Match`` gets a 304 without the object.
    :param prerendered: whether the object has its JSON as ``json``, rendered by the database.
    """
    serialise: Callable[[Any], Any] = _prerendered if prerendered else _serialiser(schema)

    def respond(item: Any) -> Response:
        text = message.format(item) if message else None
        response = envelope.success(serialise(item), text, status)
        if location:
            response.headers["Location"] = current_request().root_path + location.format(item)
        if etag:
            response.set_etag(preconditions.etag(item.version))
            if preconditions.is_known(item.version):
                response.status_code, response.data = 304, b""
        return response

    facts = {"status": status, "message": message, "location": location, "etag": etag}
    return _respond_by(respond, data=schema, **facts)


def returns_message(message: str) -> Callable[[View], View]:
    """Respond with a message about the object that the view returns, without the object.

    :param message: a format string, in which ``{0.email}`` is the returned object's email.
    """
    return _respond_by(lambda item: envelope.success(message=message.format(item)), message=message)


def returns_token(message: str, status: int = 200) -> Callable[[View], View]:
    """Respond with the access token that the view returns."""
    respond = partial(envelope.success, None, message, status)
    return _respond_by(respond, message=message, status=status, token=True)


def returns_page(
    schema: type[BaseModel], name: str, *, prerendered: bool = False
) -> Callable[[View], View]:
    """Respond with the page of objects that the view returns.

    ``data`` has the objects under ``name``, and ``next``: the cursor of the next page, or null. It
    has ``total`` where that was counted. The ``Link`` header has the URL of the next page
    (RFC 8288, relation ``next``), absolute, since many clients take no other.

    :param prerendered: whether the rows have their JSON as ``json``, rendered by the database.
    """
    serialise = _serialiser(schema)

    def respond(page: Page) -> Response:
        rows = _prerendered_list(page.rows) if prerendered else [*map(serialise, page.rows)]
        data: dict[str, Any] = {name: rows, "next": page.next}
        if page.total is not None:
            data["total"] = page.total
        response = envelope.success(data)
        if page.next:
            asked = current_request()
            query = _next_query(asked.args.to_dict(), page.next)
            # As base_url, which also decodes and quotes what has no need of it, in 90 calls.
            here = f"{asked.scheme}://{asked.host}{asked.root_path}{asked.path}"
            response.headers["Link"] = f'<{here}?{query}>; rel="next"'
        return response

    return _respond_by(respond, data=schema, list_name=name)


def _respond_by(respond: Callable[[Any], Response], **facts: Any) -> Callable[[View], View]:
    """Respond with what ``respond`` makes of what the view returns."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Response:
            return respond(view(**kwargs))

        declare(wrapper, **facts)
        return wrapper

    return decorate


_encode = lru_cache(maxsize=64)(urlencode)  # limited, since it contains search terms


def _next_query(parameters: dict[str, str], cursor: str) -> str:
    """Return the query string of the next page; a cursor needs no encoding."""
    query = _encode(tuple({**parameters, "cursor": "_"}.items()))
    return query.replace("cursor=_", f"cursor={cursor}")


def validate(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """Return the values as an object of the schema.

    :raises Invalid: a value violates the schema; ``errors`` lists each (400).
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise Invalid(errors=[FieldError(_field(d), message_of(d)) for d in details]) from error


def validate_query(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """Return parameters of a query string as an object of the schema.

    :raises Invalid: a parameter violates the schema; the message and ``errors`` name each (400).
    """
    try:
        return validate(schema, values)
    except Invalid as error:
        raise invalid_parameters(error.errors) from error


def _field(detail: ErrorDetails) -> str:
    """Return the invalid field; a rule about several fields names one in its context."""
    return str(detail["loc"][0] if detail["loc"] else detail["ctx"]["field"])


def message_of(detail: ErrorDetails) -> str:
    """Return the sentence about a field, which pages can translate.

    ``reason`` in its context may be a ``Message``.
    """
    text: str = detail["msg"]
    context = detail.get("ctx", {})
    found = context.get("reason", text)
    if template := _TEMPLATES.get(detail["type"]):
        found = Message(template, **context)
    elif detail["type"] == "literal_error":
        others, _or, last = str(context["expected"]).rpartition(" or ")
        values = Message("%(others)s or %(last)s", others=others, last=last) if others else last
        found = Message("Input should be %(values)s", values=values)
    return found if found == text else text


def _read_json() -> dict[str, Any]:
    data = request.get_data()
    try:
        value = current_app.json.loads(data)
    except ValueError as error:
        raise _unreadable(data, error) from error
    if not isinstance(value, dict):
        raise Invalid(errors=[FieldError("body", "Must be a JSON object.")])
    return value


def _unreadable(data: bytes, error: ValueError) -> AppError:
    """Return what is wrong with a body that is not JSON."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        return UnsupportedInput(errors=[PACKED])
    try:
        data.decode()
    except UnicodeDecodeError:
        return Invalid(errors=[FieldError("body", "Is not valid UTF-8.")])
    return Invalid(
        errors=[FieldError("body", Message("Is not valid JSON: %(problem)s.", problem=error))]
    )


def _read_query(schema: type[Schema]) -> Schema:
    args, many = current_request().args, repeatable(schema)
    repeated = [name for name, values in args.lists() if len(values) > 1 and name not in many]
    if repeated:
        raise invalid_parameters([FieldError(name, "Must not be repeated.") for name in repeated])
    values: dict[str, Any] = args.to_dict()
    for name in many:
        if name in args:
            values[name] = args.getlist(name)
    return validate_query(schema, values)


@cache
def repeatable(schema: type[BaseModel]) -> tuple[str, ...]:
    """Return the parameters that may occur several times."""
    fields = schema.model_fields.items()
    return tuple(name for name, field in fields if REPEATABLE in field.metadata)


def _prerendered(row: Any) -> Fragment:
    return Fragment(row.json)


def _prerendered_list(rows: Sequence[Any]) -> Fragment:
    return Fragment(f"[{','.join([row.json for row in rows])}]")


def _serialiser(schema: type[BaseModel]) -> Callable[[Any], Any]:
    """Return a function that makes a dict of the schema's fields from an object.

    It does not validate: the data was validated before it was stored.
    """
    names = tuple(schema.model_fields)
    read = attrgetter(*names)
    return lambda item: dict(zip(names, read(item), strict=True))
