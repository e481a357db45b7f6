"""`fastapi`: FastAPI over the async ORM with asyncmy, as its documentation writes it."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, EmailStr, Field, PlainSerializer
from sqlalchemy import String, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"].replace("pymysql", "asyncmy"))
new_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()

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


@app.get("/users/{user_id}", response_model=UserAnswer)
async def get_user(
    user: UserDep, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> Any:
    """Return one user."""
    etag = f'"{user.version}"'
    if if_none_match == etag:
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return {"data": user}


@app.get("/users", response_model=UsersAnswer)
async def list_users(
    session: SessionDep,
    limit: int = 1000,
    cursor: int = 0,
    email: str | None = None,
    q: str | None = None,
) -> Any:
    """Return a page of users."""
    query = select(User).where(User.id > cursor).order_by(User.id)
    if email is not None:
        query = query.where(User.email_folded == email.lower())
    if q is not None:
        by_name = User.username_folded.startswith(q.lower(), autoescape=True)
        by_email = User.email_folded.startswith(q.lower(), autoescape=True)
        query = select(User).where(or_(by_name, by_email))
        query = query.order_by(by_name.desc(), User.email_folded)
    users = (await session.scalars(query.limit(limit + 1))).all()
    more = str(users[limit - 1].id) if len(users) > limit else None
    return {"data": {"users": users[:limit], "next": more}}


@app.post("/users", response_model=UserAdded, status_code=201)
async def create_user(body: UserCreate, session: SessionDep, response: Response) -> Any:
    """Add a user."""
    user = User(
        username=body.username,
        username_folded=body.username.lower(),
        email=body.email,
        email_folded=body.email.lower(),
    )
    session.add(user)
    try:
        await session.commit()
    except IntegrityError as error:
        raise Problem("Sorry. That email already exists.", 400) from error
    response.headers["Location"] = f"/users/{user.id}"
    return {"message": f"{user.email} was added!", "data": user}


@app.patch("/users/{user_id}", response_model=UserAnswer)
async def update_user(user: UserDep, body: UserUpdate, session: SessionDep) -> Any:
    """Change the name of a user."""
    user.username = body.username
    user.username_folded = body.username.lower()
    await session.commit()
    return {"data": user}
