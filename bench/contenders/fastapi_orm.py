"""`fastapi`: FastAPI over the async ORM with asyncmy, as its documentation writes it.

With SECRET_KEY, each request must bring a token, and its user is read, as in FastAPI's full-stack
template (``get_current_user``).
"""

import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import jwt
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict, EmailStr, Field, PlainSerializer, ValidationError
from sqlalchemy import String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"].replace("pymysql", "asyncmy"))
new_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()
SECRET_KEY = os.environ.get("SECRET_KEY", "")

Role = Literal["viewer", "editor", "admin"]
Moment = Annotated[datetime, PlainSerializer(lambda moment: moment.isoformat() + "Z", str)]


def now() -> datetime:
    """Return the present time, in UTC and whole seconds."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


class Base(DeclarativeBase):
    """The base of all models."""


class User(Base):
    """A user."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(128))
    username_folded: Mapped[str] = mapped_column(String(384))
    email: Mapped[str] = mapped_column(String(128))
    email_folded: Mapped[str] = mapped_column(String(512), unique=True)
    active: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    version: Mapped[int] = mapped_column()
    role: Mapped[Role | None] = mapped_column()
    last_sign_in_at: Mapped[datetime | None] = mapped_column()

    __mapper_args__ = {"version_id_col": version}


class AuditEvent(Base):
    """What somebody has done."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int | None] = mapped_column()
    after: Mapped[str | None] = mapped_column()
    address: Mapped[str | None] = mapped_column(String(45))


class TokenPayload(BaseModel):
    """What a token says."""

    sub: int


class UserCreate(BaseModel):
    """What makes a user."""

    username: str = Field(min_length=1, max_length=128)
    email: EmailStr = Field(max_length=128)


class UserUpdate(BaseModel):
    """What changes a user."""

    username: str = Field(min_length=1, max_length=128)


class UserRead(BaseModel):
    """A user as clients see it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    username: str
    email: str
    active: bool
    created_at: Moment
    updated_at: Moment
    role: Role | None
    last_sign_in_at: Moment | None


class UserAnswer(BaseModel):
    """The answer about one user."""

    status: str = "success"
    data: UserRead


class UserAdded(UserAnswer):
    """The answer about a new user."""

    message: str


class Users(BaseModel):
    """A page of users."""

    users: list[UserRead]
    next: str | None


class UsersAnswer(BaseModel):
    """The answer with a page of users."""

    status: str = "success"
    data: Users


class Problem(Exception):
    """What a client has done wrong."""

    def __init__(self, message: str, status: int) -> None:
        self.message, self.status = message, status


@app.exception_handler(Problem)
async def show_problem(_request: Request, error: Problem) -> JSONResponse:
    """Answer that a client was wrong."""
    return JSONResponse({"status": "fail", "message": error.message}, error.status)


@app.exception_handler(RequestValidationError)
async def show_invalid(_request: Request, _error: RequestValidationError) -> JSONResponse:
    """Answer that a body was wrong."""
    return JSONResponse({"status": "fail", "message": "Invalid payload."}, 400)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Give a session to one request."""
    async with new_session() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
TokenDep = Annotated[str | None, Depends(OAuth2PasswordBearer("login", auto_error=False))]


async def get_current_user(session: SessionDep, token: TokenDep) -> User:
    """Return the user who calls."""
    if not token:
        raise Problem("Provide a valid auth token.", 403)
    try:
        payload = TokenPayload(**jwt.decode(token, SECRET_KEY, algorithms=["HS256"]))
    except (jwt.InvalidTokenError, ValidationError) as error:
        raise Problem("Invalid token. Please log in again.", 401) from error
    user = await session.get(User, payload.sub)
    if user is None or not user.active:
        raise Problem("Invalid token. Please log in again.", 401)
    return user


router = APIRouter(dependencies=[Depends(get_current_user)] if SECRET_KEY else [])


async def find_user(user_id: int, session: SessionDep) -> User:
    """Return the user of the path."""
    user = await session.get(User, user_id)
    if user is None:
        raise Problem("User does not exist", 404)
    return user


UserDep = Annotated[User, Depends(find_user)]


@app.get("/ping")
async def ping() -> dict[str, str]:
    """Answer."""
    return {"status": "success", "message": "pong!"}


@router.get("/users/{user_id}", response_model=UserAnswer)
async def get_user(
    user: UserDep, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> Any:
    """Return one user."""
    etag = f'"{user.version}"'
    if if_none_match == etag:
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return {"data": user}


@router.get("/users", response_model=UsersAnswer)
async def list_users(
    session: SessionDep, limit: int = 1000, cursor: int = 0, email: str | None = None
) -> Any:
    """Return a page of users."""
    query = select(User).where(User.id > cursor).order_by(User.id)
    if email is not None:
        query = query.where(User.email_folded == email.lower())
    users = (await session.scalars(query.limit(limit + 1))).all()
    more = str(users[limit - 1].id) if len(users) > limit else None
    return {"data": {"users": users[:limit], "next": more}}


@router.post("/users", response_model=UserAdded, status_code=201)
async def create_user(
    body: UserCreate, session: SessionDep, request: Request, response: Response
) -> Any:
    """Add a user, and the event of it."""
    user = User(
        username=body.username,
        username_folded=body.username.lower(),
        email=body.email,
        email_folded=body.email.lower(),
    )
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Problem("Sorry. That email already exists.", 400) from error
    after = {name: getattr(user, name) for name in ("username", "email", "active", "role")}
    session.add(
        AuditEvent(
            actor="anonymous",
            action="user.created",
            user_id=user.id,
            after=json.dumps(after),
            address=request.client and request.client.host,
        )
    )
    await session.commit()
    response.headers["Location"] = f"/users/{user.id}"
    return {"message": f"{user.email} was added!", "data": user}


@router.patch("/users/{user_id}", response_model=UserAnswer)
async def update_user(user: UserDep, body: UserUpdate, session: SessionDep) -> Any:
    """Change the name of a user."""
    user.username = body.username
    user.username_folded = body.username.lower()
    await session.commit()
    return {"data": user}


app.include_router(router)
