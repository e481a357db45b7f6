"""The SQLAlchemy object, the base of all models, and the options of every table."""

from flask import current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from project.config import WrongDatabase, refuse_served_database, same_database
from project.database.connections import ThreadSession
from project.database_url import engine_url

TABLE_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {
        "engine": "InnoDB",
        "charset": "utf8mb4",
        "collate": "utf8mb4_bin",
    }.items()
}
"""The options of every table: full Unicode, compared by code point as in SQLite."""


class Base(DeclarativeBase):
    """The base of all models; constraints and indexes have the same names in every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        }
    )


class Database(SQLAlchemy):
    """SQLAlchemy that creates and drops tables only in the database that the settings name."""

    def create_all(self, bind_key: str | None | list[str | None] = "__all__") -> None:
        """Create the missing tables, or raise WrongDatabase as check_database does."""
        check_database()
        super().create_all(bind_key)

    def drop_all(self, bind_key: str | None | list[str | None] = "__all__") -> None:
        """Drop all tables, or raise WrongDatabase as check_database does."""
        check_database()
        super().drop_all(bind_key)


db = Database(
    model_class=Base, session_options={"class_": ThreadSession, "expire_on_commit": False}
)


def check_database() -> None:
    """Check that the engines use the database that the app's settings name.

    Settings that change after ``create_app`` do not affect the engines.

    :raises WrongDatabase: the engines use another database, or the settings are for tests and name
        the served database.
    """
    settings = current_app.config
    named, bound = engine_url(settings["SQLALCHEMY_DATABASE_URI"]), db.engine.url
    if not same_database(str(named), str(bound)):
        raise WrongDatabase(
            f"The app was created for {bound!r}, but its settings now name {named!r}. No table was"
            " created or dropped. Pass the settings to create_app, as in"
            " create_app('project.config.TestingConfig')."
        )
    if settings["TESTING"]:
        refuse_served_database(str(bound))
