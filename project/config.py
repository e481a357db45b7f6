"""Every setting, with its type, unit and default.

A class per environment, named in ``APP_SETTINGS``. What comes from the environment is read when
an app is created, not when this module is imported.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from werkzeug.utils import ImportStringError, import_string

from project import database_url

T = TypeVar("T")

DEVELOPMENT_SECRET_KEY = "secret"
SECRET_KEY_MIN_BYTES = 32  # as many as HMAC-SHA-256 gives (RFC 7518 section 3.2)
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class ConfigError(Exception):
    """A setting is missing or wrong; the message names it. The service does not start."""


class WrongDatabase(RuntimeError):
    """What was to be done to one database would have been done to another; nothing was sent."""


def read_environment(name: str) -> str | None:
    """Return the text of an environment variable, or of the file that ``<name>_FILE`` names.

    An empty variable counts as unset, since Compose passes unset ones that way. Of a file, a
    byte-order mark and the line end at its end are dropped.

    :raises ConfigError: both are set, or the file cannot be read.
    """
    text, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if text and path:
        raise ConfigError(f"{name} and {name}_FILE are both set; set one of them.")
    if not path:
        return text or None
    try:
        return Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n") or None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}_FILE: {path} cannot be read ({error}).") from error


def positive_integer(text: str) -> int:
    """Read a whole number of at least 1.

    :raises ValueError: it is not one.
    """
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def days(text: str) -> int:
    """Read a whole number of days, from 1 to 36,500, a century.

    :raises ValueError: it is not one.
    """
    number = positive_integer(text)
    if number > 36_500:
        raise ValueError(text)
    return number


def access(text: str) -> str:
    """Read ``open`` or ``protected``.

    :raises ValueError: it is neither.
    """
    if text not in {"open", "protected"}:
        raise ValueError(text)
    return text


def on_or_off(text: str) -> bool:
    """Read ``on`` or ``off``.

    :raises ValueError: it is neither.
    """
    if text not in {"on", "off"}:
        raise ValueError(text)
    return text == "on"


def words(text: str) -> list[str]:
    """Read words with white space between them."""
    return text.split()


def log_level(text: str) -> str:
    """Read the name of a log level, in any case.

    :raises ValueError: it is not one.
    """
    if text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ValueError(text)
    return text.upper()


class FromEnvironment(Generic[T]):
    """A class attribute that is read from the environment each time it is asked for.

    :param name: the environment variable; ``<name>_FILE`` may name a file instead.
    :param default: the value when neither is set.
    :param convert: makes the value from the text; a ValueError becomes a ConfigError.
    """

    def __init__(self, name: str, default: T, convert: Callable[[str], T]) -> None:
        self.name, self.default, self.convert = name, default, convert

    def __get__(self, instance: object, owner: type) -> T:
        text = read_environment(self.name)
        if text is None:
            return self.default
        try:
            return self.convert(text)
        except ValueError as error:
            raise ConfigError(f"{self.name} has a wrong value: {text!r}.") from error


class BaseConfig:
    """What holds in every environment."""

    DEBUG = False
    TESTING = False

    SECRET_KEY: Any = DEVELOPMENT_SECRET_KEY
    """Signs sessions, CSRF tokens and page cursors. Text; production takes its own from
    ``SECRET_KEY`` or ``SECRET_KEY_FILE`` and refuses to start on this one, or on one of less
    than 32 bytes."""

    SQLALCHEMY_DATABASE_URI: Any = None
    """The database's URL, unaltered from the environment; without one, a SQLite file in
    ``instance/``. Driver options are added to the engines, in project.database.engines."""

    SQLALCHEMY_TRACK_MODIFICATIONS = False

    MAX_CONTENT_LENGTH = FromEnvironment("MAX_BODY_BYTES", 65_536, positive_integer)
    """Largest request body in bytes, at least 1. A larger one is answered 413. An import has
    its own limit, and a page's form never takes more than 64 KiB."""

    IMPORT_MAX_BYTES = FromEnvironment("IMPORT_MAX_BYTES", 1_073_741_824, positive_integer)
    """Largest body of an import in bytes, at least 1, both as it is sent and unpacked. A larger one
    is answered 413."""

    MAX_FORM_MEMORY_SIZE = None
    """No limit beside that on the whole body."""

    MAX_FORM_PARTS = 100
    """The most fields that a form in parts may have; no page's form has ten."""

    PRESERVE_CONTEXT_ON_EXCEPTION = False
    PROPAGATE_EXCEPTIONS = False
    """Off everywhere, so that development and tests see the 500 that a client would see."""

    BOOTSTRAP_SERVE_LOCAL = True
    """The page's style sheet comes from the service itself: no request leaves the site."""

    SESSION_COOKIE_SAMESITE = "Lax"

    SECRET_KEY_FALLBACKS = FromEnvironment[Any]("SECRET_KEY_FALLBACKS", None, words)
    """Keys that were ``SECRET_KEY`` before, with white space between: nothing is signed with them
    any more, but what was signed is still good."""

    ACCESS = FromEnvironment("ACCESS", "open", access)
    """``open``: anybody may do anything; ``protected``: those who sign in, what their role lets
    them."""

    REGISTRATION = FromEnvironment("REGISTRATION", True, on_or_off)
    """Whether people may make their own account, by ``POST /auth/register``: on or off."""

    TOKEN_HOURS = FromEnvironment("TOKEN_HOURS", 24, positive_integer)
    """How long a sign-in lasts, in hours, at least 1."""

    AUDIT_DAYS = FromEnvironment("AUDIT_DAYS", 365, days)
    """How old an event of the audit trail may get, in days, 1 to 36,500; those that
    are older are removed."""

    PASSWORD_MIN_CHARACTERS = FromEnvironment("PASSWORD_MIN_CHARACTERS", 15, positive_integer)
    """The shortest password, in characters, at least 1; NIST SP 800-63B-4 says 15."""

    ARGON2_PASSES = FromEnvironment("ARGON2_PASSES", 2, positive_integer)
    ARGON2_MEMORY_KIB = FromEnvironment("ARGON2_MEMORY_KIB", 19_456, positive_integer)
    """What a password's hash costs, in passes over so much memory; OWASP's least for argon2id.
    Each thread that signs somebody in takes the memory."""

    LOG_JSON = False
    """Whether logs are JSON, for programs, or columns, for people."""

    LOG_LEVEL = FromEnvironment("LOG_LEVEL", "INFO", log_level)
    """The least urgent level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL."""

    PROXIES = 0
    """How many proxies in front are believed about who called and by which scheme."""


class DevelopmentConfig(BaseConfig):
    """A developer's machine: reloads on change, says more in its logs."""

    DEBUG = True
    SQLALCHEMY_DATABASE_URI = FromEnvironment("DATABASE_URL", "sqlite:///users_dev.db", str)


class TestingConfig(BaseConfig):
    """The test suites: a database of their own, and forms that take no CSRF token."""

    DEBUG = True
    TESTING = True
    SQLALCHEMY_DATABASE_URI = FromEnvironment("DATABASE_TEST_URL", "sqlite:///users_test.db", str)
    WTF_CSRF_ENABLED = False
    ACCESS = "open"
    REGISTRATION = True
    ARGON2_PASSES = 1
    ARGON2_MEMORY_KIB = 8
    LOG_LEVEL = FromEnvironment("TEST_LOG_LEVEL", "CRITICAL", log_level)
    """Quiet, so that the tests' own output can be read; ``TEST_LOG_LEVEL`` overrides it."""


class ProductionConfig(BaseConfig):
    """The real thing, behind nginx."""

    LOG_JSON = True
    PROXIES = 1
    ACCESS = FromEnvironment("ACCESS", "protected", access)
    REGISTRATION = FromEnvironment("REGISTRATION", False, on_or_off)

    SECRET_KEY = FromEnvironment("SECRET_KEY", DEVELOPMENT_SECRET_KEY, str)
    SQLALCHEMY_DATABASE_URI = FromEnvironment("DATABASE_URL", "sqlite:///users_prod.db", str)


def choose(config: type | str | None) -> type:
    """Return the settings class to use.

    :param config: a class or its dotted name; None: what ``APP_SETTINGS`` names, else development.
    :raises ConfigError: the name leads to no class.
    """
    name = config or read_environment("APP_SETTINGS") or "project.config.DevelopmentConfig"
    if isinstance(name, type):
        return name
    try:
        found = import_string(name)
    except ImportStringError as error:
        raise ConfigError(f"APP_SETTINGS: there is no settings class {name!r}.") from error
    if not isinstance(found, type):
        raise ConfigError(f"APP_SETTINGS: {name!r} is not a class.")
    return found


def check(settings: Mapping[str, Any]) -> None:
    """Refuse settings that a service must not run on.

    :raises ConfigError: production without a secret key of its own that is long enough, or a
        database URL that is no URL or that leads to no database that could be served.
    """
    production = not settings["DEBUG"] and not settings["TESTING"]
    if production and settings["SECRET_KEY"] == DEVELOPMENT_SECRET_KEY:
        raise ConfigError("SECRET_KEY is not set. Production needs one of its own.")
    if production:
        for name, keys in {
            "SECRET_KEY": [settings["SECRET_KEY"]],
            "SECRET_KEY_FALLBACKS": settings["SECRET_KEY_FALLBACKS"] or [],
        }.items():
            if any(len(key.encode()) < SECRET_KEY_MIN_BYTES for key in keys):
                raise ConfigError(
                    f"{name}: a key is shorter than {SECRET_KEY_MIN_BYTES} bytes."
                    " `openssl rand -hex 32` makes one."
                )
    variable = "DATABASE_TEST_URL" if settings["TESTING"] else "DATABASE_URL"
    try:
        url = database_url.engine_url(settings["SQLALCHEMY_DATABASE_URI"])
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"{variable} is not a database URL.") from error
    try:
        database_url.check(url)
    except ValueError as error:
        raise ConfigError(f"{variable}: {error}") from error


def same_database(one: str, other: str) -> bool:
    """Say whether two URLs lead to the same database, whatever their users and options."""
    return _place(make_url(one)) == _place(make_url(other))


def _place(url: URL) -> tuple[Any, ...]:
    if url.get_backend_name() == "sqlite":
        instance = Path(__file__).parents[1] / "instance"
        return ("sqlite", (instance / (url.database or "")).resolve())
    host = "localhost" if url.host is None or url.host in LOOPBACK else url.host.lower()
    return ("mysql", host, url.port or 3306, (url.database or "").lower())


def refuse_served_database(uri: str) -> None:
    """Keep the tests from emptying the database that is served.

    :raises WrongDatabase: the test database is the one of ``DATABASE_URL``.
    """
    served = read_environment("DATABASE_URL")
    defaults = [
        settings.__dict__["SQLALCHEMY_DATABASE_URI"].default
        for settings in (DevelopmentConfig, ProductionConfig)
    ]
    if any(same_database(uri, other) for other in ([served] if served else defaults)):
        raise WrongDatabase(
            "The test database is the served one: DATABASE_TEST_URL must differ from DATABASE_URL."
        )
