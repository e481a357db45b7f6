"""`async-core`: a tuned async service of Starlette, SQLAlchemy Core, asyncmy and orjson.

Statements built once, reads under AUTOCOMMIT and without a ROLLBACK, no ORM, no access log.
With SECRET_KEY, each request must bring a token, and its user is read.
"""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import orjson
from pydantic import BaseModel, EmailStr, Field, ValidationError
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Enum,
    Integer,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET_KEY = os.environ.get("SECRET_KEY", "")
OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
URL = os.environ["DATABASE_URL"].replace("pymysql", "asyncmy")
POOL: dict[str, Any] = {"pool_size": 8, "max_overflow": 0}
writes = create_async_engine(URL, **POOL)
reads = create_async_engine(
    URL, **POOL, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True
)

metadata = MetaData()
users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("username", String(128)),
    Column("email", String(128)),
    Column("active", Boolean),
    Column("created_at", DateTime),
    Column("updated_at", DateTime),
    Column("role", Enum("viewer", "editor", "admin", name="role")),
    Column("last_sign_in_at", DateTime),
    Column("version", Integer),
    Column("username_folded", String(384)),
    Column("email_folded", String(512)),
)
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("created_at", DateTime),
    Column("actor", String(64)),
    Column("action", String(64)),
    Column("user_id", Integer),
    Column("after", Text),
    Column("address", String(45)),
)
SHOWN = "id", "username", "email", "active", "created_at", "updated_at", "role", "last_sign_in_at"
_shown = [users.c[name] for name in SHOWN]
_limit = bindparam("limit", type_=Integer)

BY_ID = select(*_shown, users.c.version).where(users.c.id == bindparam("user_id"))
PAGE = select(*_shown).where(users.c.id > bindparam("cursor")).order_by(users.c.id).limit(_limit)
BY_EMAIL = select(*_shown).where(users.c.email_folded == bindparam("email"))
CALLER = select(users.c.id).where(users.c.id == bindparam("user_id"), users.c.active)
INSERT = insert(users)
INSERT_EVENT = insert(audit_events)
UPDATE = (
    update(users)
    .where(users.c.id == bindparam("user_id"))
    .values(
        username=bindparam("new_username"),
        username_folded=bindparam("new_username_folded"),
        updated_at=bindparam("now"),
        version=users.c.version + 1,
    )
)


class UserCreate(BaseModel):
    """What makes a user."""

    username: str = Field(min_length=1, max_length=128)
    email: EmailStr = Field(max_length=128)


class UserUpdate(BaseModel):
    """What changes a user."""

    username: str = Field(min_length=1, max_length=128)


def answer(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    """Return an answer in JSON."""
    content = orjson.dumps(body, option=OPTIONS)
    return Response(content, status, headers or None, "application/json")


def fail(message: str, status: int) -> Response:
    """Return an answer to a mistake."""
    return answer({"status": "fail", "message": message}, status)


def one(row: Any) -> Response:
    """Return the answer about one user."""
    data = dict(zip(SHOWN, row, strict=False))
    return answer({"status": "success", "data": data}, ETag=f'"{row.version}"')


async def ask(statement: Select[Any], **parameters: Any) -> list[Row[Any]]:
    """Return the rows of a SELECT."""
    async with reads.connect() as connection:
        return list((await connection.execute(statement, parameters)).all())


View = Callable[[Request], Awaitable[Response]]


def protected(view: View) -> View:
    """Let only users call a view, if there is a key to check their tokens with."""

    async def checked(request: Request) -> Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return fail("Provide a valid auth token.", 403)
        try:
            user_id = int(jwt.decode(token, SECRET_KEY, algorithms=["HS256"])["sub"])
        except (jwt.InvalidTokenError, KeyError, ValueError):
            return fail("Invalid token. Please log in again.", 401)
        if not await ask(CALLER, user_id=user_id):
            return fail("Invalid token. Please log in again.", 401)
        return await view(request)

    return checked if SECRET_KEY else view


async def ping(_request: Request) -> Response:
    """Answer."""
    return answer({"status": "success", "message": "pong!"})


async def get_user(request: Request) -> Response:
    """Return one user."""
    rows = await ask(BY_ID, user_id=request.path_params["user_id"])
    if not rows:
        return fail("User does not exist", 404)
    if request.headers.get("If-None-Match") == f'"{rows[0].version}"':
        return Response(status_code=304, headers={"ETag": f'"{rows[0].version}"'})
    return one(rows[0])


async def list_users(request: Request) -> Response:
    """Return a page of users."""
    asked = request.query_params
    limit = int(asked.get("limit", 1000))
    if "email" in asked:
        rows = await ask(BY_EMAIL, email=asked["email"].lower())
    else:
        rows = await ask(PAGE, cursor=int(asked.get("cursor", 0)), limit=limit + 1)
    more = str(rows[limit - 1].id) if len(rows) > limit else None
    found = [dict(zip(SHOWN, row, strict=True)) for row in rows[:limit]]
    return answer({"status": "success", "data": {"users": found, "next": more}})


async def create_user(request: Request) -> Response:
    """Add a user, and the event of it."""
    try:
        body = UserCreate.model_validate_json(await request.body())
    except ValidationError:
        return fail("Invalid payload.", 400)
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    user = {
        "username": body.username,
        "email": body.email,
        "active": False,
        "created_at": now,
        "updated_at": now,
        "role": None,
        "last_sign_in_at": None,
    }
    folded = {"username_folded": body.username.lower(), "email_folded": body.email.lower()}
    try:
        async with writes.begin() as connection:
            added: Any = await connection.execute(INSERT, user | folded)
            (user_id,) = added.inserted_primary_key
            after = {name: user[name] for name in ("username", "email", "active", "role")}
            event = {
                "created_at": now,
                "actor": "anonymous",
                "action": "user.created",
                "user_id": user_id,
                "after": orjson.dumps(after).decode(),
                "address": request.client and request.client.host,
            }
            await connection.execute(INSERT_EVENT, event)
    except IntegrityError:
        return fail("Sorry. That email already exists.", 400)
    message = f"{body.email} was added!"
    data = {"id": user_id, **user}
    return answer(
        {"status": "success", "message": message, "data": data}, 201, Location=f"/users/{user_id}"
    )


async def update_user(request: Request) -> Response:
    """Change the name of a user."""
    try:
        body = UserUpdate.model_validate_json(await request.body())
    except ValidationError:
        return fail("Invalid payload.", 400)
    user_id = request.path_params["user_id"]
    values = {
        "user_id": user_id,
        "new_username": body.username,
        "new_username_folded": body.username.lower(),
        "now": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
    }
    async with writes.begin() as connection:
        await connection.execute(UPDATE, values)
        row = (await connection.execute(BY_ID, {"user_id": user_id})).one_or_none()
    return one(row) if row else fail("User does not exist", 404)


app = Starlette(
    routes=[
        Route("/ping", ping),
        Route("/users", protected(list_users)),
        Route("/users", protected(create_user), methods=["POST"]),
        Route("/users/{user_id:int}", protected(get_user)),
        Route("/users/{user_id:int}", protected(update_user), methods=["PATCH"]),
    ]
)
