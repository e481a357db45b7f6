"""Every setting, with its type, unit and default.

There is a class per environment, selected by ``APP_SETTINGS``. Environment variables are read when
an app is created, not when this module is imported.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from werkzeug.utils import ImportStringError, import_string

from project import database_url, mail_server, origins

T = TypeVar("T")

DEVELOPMENT_SECRET_KEY = "secret"
SECRET_KEY_MIN_BYTES = 32  # the output size of HMAC-SHA-256 (RFC 7518 section 3.2)
URL_PREFIX = re.compile("(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
URL_PREFIX_MAX_CHARACTERS = 200
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class ConfigError(Exception):
    """A setting is missing or invalid; the message names it. The service does not start."""


class WrongDatabase(RuntimeError):
    """An operation would have affected another database than intended; nothing was sent."""


def read_environment(name: str) -> str | None:
    """Return the value of an environment variable, or the content of the file in ``<name>_FILE``.

    An empty variable counts as unset, since Compose passes unset ones as empty. A file's byte-order
    mark and trailing line ends are removed.

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


def positive_integer(text: str, maximum: int | None = None) -> int:
    """Parse an integer of at least 1.

    :param maximum: the largest that is accepted; None: any.
    :raises ValueError: the text is not one.
    """
    number = int(text)
    if number < 1 or (maximum is not None and number > maximum):
        raise ValueError(text)
    return number


def wait_seconds(text: str) -> int:
    """Parse an integer from 0 to 30.

    :raises ValueError: the text is not one.
    """
    return 0 if int(text) == 0 else positive_integer(text, maximum=30)


days = partial(positive_integer, maximum=36_500)  # a century


def one_of(values: Mapping[str, T]) -> Callable[[str], T]:
    """Return a function that parses one of these texts, and raises ValueError for any other."""

    def parse(text: str) -> T:
        if text not in values:
            raise ValueError(text)
        return values[text]

    return parse


access = one_of({"open": "open", "protected": "protected"})
on_or_off = one_of({"on": True, "off": False})


def words(text: str) -> list[str]:
    """Parse words separated by white space."""
    return text.split()


def log_level(text: str) -> str:
    """Parse the name of a log level, in any letter case.

    :raises ValueError: the text is not one.
    """
    if text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ValueError(text)
    return text.upper()


def url_prefix(text: str) -> str:
    """Parse the path under which the service is reached, such as ``/directory``.

    Its segments have letters, digits and ``-._~``, and begin with no dot. So it needs no encoding,
    and a browser reads it neither as a host nor as a step upwards.

    :raises ValueError: the text is no such path, or has more than 200 characters.
    """
    if len(text) > URL_PREFIX_MAX_CHARACTERS or not URL_PREFIX.fullmatch(text):
        raise ValueError(text)
    return text


def public_url(text: str) -> str:
    """Parse the address of the service, such as ``https://users.example``; drop a slash at its end.

    :raises ValueError: the text has no ``http://`` or ``https://`` and host, or more than a path.
    """
    parts = urlsplit(text)
    plain = text.isascii() and text.isprintable() and not set(text) & set(" ?#@\\\"'<>")
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(text)
    if parts.port == 0:  # its getter raises ValueError for what is no port
        raise ValueError(text)
    return text.rstrip("/")


class FromEnvironment(Generic[T]):
    """A class attribute that is read from the environment on each access.

    :param name: the environment variable; ``<name>_FILE`` may name a file instead.
    :param convert: converts the text to the value; its ValueError becomes a ConfigError.
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
            raise ConfigError(f"{self.name} has an invalid value: {text!r}.") from error


class BaseConfig:
    """The defaults for every environment."""

    DEBUG = False
    TESTING = False

    SECRET_KEY: Any = DEVELOPMENT_SECRET_KEY
    """Signs sessions, CSRF tokens and page cursors. Text. Production reads its own from
    ``SECRET_KEY`` or ``SECRET_KEY_FILE``, and does not start with this default or with a key of
    less than 32 bytes."""

    SQLALCHEMY_DATABASE_URI: Any = None
    """The database's URL, exactly as in the environment; by default a SQLite file in ``instance/``.
    Driver options are set on the engines, in project.database.engines."""

    DATABASE_WAIT_SECONDS = FromEnvironment("DATABASE_WAIT_SECONDS", 0, wait_seconds)
    """For how long after the start of an outage requests wait for the database, in seconds, 0 to
    30, before they are answered 503. More than 0 is for a database that another server takes over
    within seconds."""

    READ_DATABASE_URL = FromEnvironment[Any]("READ_DATABASE_URL", None, str)
    """The URL of a replica, by GTIDs, of the database, from which the API's lists and exports are
    read; nothing else is, so that a request sees its own write."""

    MAX_LAG_SECONDS = FromEnvironment("MAX_LAG_SECONDS", 5, positive_integer)
    """How old what the replica shows may be, in seconds, at least 1; if it is older, the database
    itself is read."""

    SQLALCHEMY_TRACK_MODIFICATIONS = False

    MAX_CONTENT_LENGTH = FromEnvironment("MAX_BODY_BYTES", 65_536, positive_integer)
    """The largest request body in bytes, at least 1. A larger one gets a 413. Imports have their
    own limit, and a page's form is limited to 64 KiB."""

    IMPORT_MAX_BYTES = FromEnvironment("IMPORT_MAX_BYTES", 1_073_741_824, positive_integer)
    """The largest body of an import in bytes, at least 1, both as sent and decompressed. A larger
    one gets a 413."""

    UPLOADS_DIR = FromEnvironment[Any]("UPLOADS_DIR", None, str)
    """The folder in which files wait that people upload on the page; the service creates it. All
    processes need the same one. By default ``uploads`` in ``instance/``."""

    MAX_UPLOAD_BYTES = FromEnvironment("MAX_UPLOAD_BYTES", 104_857_600, positive_integer)
    """The largest file that people upload on the page, in bytes, at least 1."""

    MAX_FORM_MEMORY_SIZE = None
    """No limit besides the one on the body."""

    MAX_FORM_PARTS = 100
    """The largest number of fields in a multipart form; no page's form has ten."""

    PRESERVE_CONTEXT_ON_EXCEPTION = False
    PROPAGATE_EXCEPTIONS = False
    """Off everywhere, so development and tests get the same 500 as a client."""

    BOOTSTRAP_SERVE_LOCAL = True
    """The service itself serves the page's style sheet: browsers request nothing elsewhere."""

    SESSION_COOKIE_SAMESITE = "Lax"

    SECRET_KEY_FALLBACKS = FromEnvironment[Any]("SECRET_KEY_FALLBACKS", None, words)
    """Former values of ``SECRET_KEY``, separated by white space. They no longer sign anything, but
    what they signed stays valid."""

    ACCESS = FromEnvironment("ACCESS", "open", access)
    """``open``: anybody may do anything; ``protected``: users sign in, and their role decides."""

    REGISTRATION = FromEnvironment("REGISTRATION", True, on_or_off)
    """Whether people may create their own account by ``POST /auth/register``: on or off."""

    DEACTIVATION_GUARD = FromEnvironment("DEACTIVATION_GUARD", True, on_or_off)
    """Whether an API key that deactivates or removes unusually many users within an hour is stopped
    until an administrator lets it go on: on or off."""

    PUBLIC_URL = FromEnvironment[Any]("PUBLIC_URL", None, public_url)
    """The address of the service in the links of mails, such as ``https://users.example``. A mail
    may be asked for by anybody, so its links do not follow the ``Host`` of a request."""

    SMTP_URL = FromEnvironment[Any]("SMTP_URL", None, str)
    """The server that sends mails: ``smtp://HOST``, ``smtp://USER:PASSWORD@HOST?starttls`` or
    ``smtps://USER:PASSWORD@HOST``; None: no mails. It needs PUBLIC_URL and MAIL_FROM."""

    MAIL_FROM = FromEnvironment[Any]("MAIL_FROM", None, str)
    """The sender of mails, such as ``Directory <directory@example.com>``."""

    CORS_ORIGINS = FromEnvironment[Any]("CORS_ORIGINS", None, words)
    """The origins of pages that may call the API from browsers, such as ``https://client.example``,
    separated by white space; None: no other origin."""

    TOKEN_HOURS = FromEnvironment("TOKEN_HOURS", 24, positive_integer)
    """The lifetime of a sign-in in hours, at least 1."""

    AUDIT_DAYS = FromEnvironment("AUDIT_DAYS", 365, days)
    """The retention of audit events in days, 1 to 36,500; older ones are removed."""

    PASSWORD_MIN_CHARACTERS = FromEnvironment("PASSWORD_MIN_CHARACTERS", 15, positive_integer)
    """The minimum length of a password in characters, at least 1; NIST SP 800-63B-4 says 15."""

    ARGON2_PASSES = FromEnvironment("ARGON2_PASSES", 2, positive_integer)
    ARGON2_MEMORY_KIB = FromEnvironment("ARGON2_MEMORY_KIB", 19_456, positive_integer)
    """The cost of a password hash: passes, at least 1, and memory in KiB; OWASP's minimum for
    argon2id. Each thread that hashes a password takes the memory."""

    LOG_JSON = False
    """Whether logs are JSON (for programs) or columns (for people)."""

    LOG_LEVEL = FromEnvironment("LOG_LEVEL", "INFO", log_level)
    """The lowest level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL."""

    PROXIES = 0
    """The number of trusted proxies, whose headers give the client's address, the scheme and the
    path under which the service is reached."""

    SCRIPT_NAME = FromEnvironment("SCRIPT_NAME", "", url_prefix)
    """The path under which the service is reached, such as ``/directory``, without a slash at its
    end; empty: the root of its host."""


class DevelopmentConfig(BaseConfig):
    """Development: debug mode, readable logs."""

    DEBUG = True
    SQLALCHEMY_DATABASE_URI = FromEnvironment("DATABASE_URL", "sqlite:///users_dev.db", str)


class TestingConfig(BaseConfig):
    """The test suites: a separate database, and forms without CSRF tokens."""

    DEBUG = True
    TESTING = True
    SQLALCHEMY_DATABASE_URI = FromEnvironment("DATABASE_TEST_URL", "sqlite:///users_test.db", str)
    READ_DATABASE_URL = None
    SCRIPT_NAME = ""
    WTF_CSRF_ENABLED = False
    ACCESS = "open"
    REGISTRATION = True
    DEACTIVATION_GUARD = True
    PUBLIC_URL = None
    SMTP_URL = None
    MAIL_FROM = None
    CORS_ORIGINS = None
    ARGON2_PASSES = 1
    ARGON2_MEMORY_KIB = 8
    LOG_LEVEL = FromEnvironment("TEST_LOG_LEVEL", "CRITICAL", log_level)
    """High, so that the tests' output stays readable; ``TEST_LOG_LEVEL`` overrides it."""


class ProductionConfig(BaseConfig):
    """Production, behind nginx."""

    LOG_JSON = True
    PROXIES = 1
    ACCESS = FromEnvironment("ACCESS", "protected", access)
    REGISTRATION = FromEnvironment("REGISTRATION", False, on_or_off)

    SECRET_KEY = FromEnvironment("SECRET_KEY", DEVELOPMENT_SECRET_KEY, str)
    SQLALCHEMY_DATABASE_URI = FromEnvironment("DATABASE_URL", "sqlite:///users_prod.db", str)


def choose(config: type | str | None) -> type:
    """Return the settings class to use.

    :param config: a class or its dotted name; None: the class that ``APP_SETTINGS`` names, by
        default development.
    :raises ConfigError: there is no class of this name.
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
    """Refuse settings that the service must not run with.

    :raises ConfigError: production has no secret key of its own, or a key is too short, or a
        database's URL is invalid or unsupported, or an origin is none, or mails could not be sent.
    """
    production = not settings["DEBUG"] and not settings["TESTING"]
    if production and settings["SECRET_KEY"] == DEVELOPMENT_SECRET_KEY:
        raise ConfigError("SECRET_KEY is not set. Production requires its own.")
    if production:
        for name, keys in {
            "SECRET_KEY": [settings["SECRET_KEY"]],
            "SECRET_KEY_FALLBACKS": settings["SECRET_KEY_FALLBACKS"] or [],
        }.items():
            if any(len(key.encode()) < SECRET_KEY_MIN_BYTES for key in keys):
                raise ConfigError(
                    f"{name}: a key is shorter than {SECRET_KEY_MIN_BYTES} bytes."
                    " Create one with `openssl rand -hex 32`."
                )
    variable = "DATABASE_TEST_URL" if settings["TESTING"] else "DATABASE_URL"
    backend = _check_url(variable, settings["SQLALCHEMY_DATABASE_URI"])
    replica = settings["READ_DATABASE_URL"]
    if replica and (backend == "sqlite" or _check_url("READ_DATABASE_URL", replica) == "sqlite"):
        raise ConfigError("READ_DATABASE_URL: SQLite has no replicas.")
    for origin in settings["CORS_ORIGINS"] or []:
        try:
            origins.check(origin)
        except ValueError as error:
            raise ConfigError(f"CORS_ORIGINS: {error}") from error
    if settings["SMTP_URL"]:
        _check_mails(settings)


def _check_mails(settings: Mapping[str, Any]) -> None:
    for name in ("PUBLIC_URL", "MAIL_FROM"):
        if not settings[name]:
            raise ConfigError(f"{name} is not set. SMTP_URL requires it.")
    for name, parse in {
        "SMTP_URL": mail_server.parse_server,
        "MAIL_FROM": mail_server.check_sender,
    }.items():
        try:
            parse(settings[name])
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error


def _check_url(variable: str, text: str) -> str:
    """Return the name of a URL's database system."""
    try:
        url = database_url.engine_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"{variable} is not a database URL.") from error
    try:
        database_url.check(url)
    except ValueError as error:
        raise ConfigError(f"{variable}: {error}") from error
    return url.get_backend_name()


def same_database(one: str, other: str) -> bool:
    """Return whether two URLs lead to the same database, regardless of users and options."""
    return _location(make_url(one)) == _location(make_url(other))


def _location(url: URL) -> tuple[Any, ...]:
    if url.get_backend_name() == "sqlite":
        instance = Path(__file__).parents[1] / "instance"
        return ("sqlite", (instance / (url.database or "")).resolve())
    host = "localhost" if url.host is None or url.host in LOOPBACK else url.host.lower()
    return ("mysql", host, url.port or 3306, (url.database or "").lower())


def refuse_served_database(uri: str) -> None:
    """Protect the served database from the tests, which empty theirs.

    :raises WrongDatabase: the test database is the one in ``DATABASE_URL``.
    """
    served = read_environment("DATABASE_URL")
    defaults = [
        settings.__dict__["SQLALCHEMY_DATABASE_URI"].default
        for settings in (DevelopmentConfig, ProductionConfig)
    ]
    if any(same_database(uri, other) for other in ([served] if served else defaults)):
        raise WrongDatabase(
            "The test database is the served one. DATABASE_TEST_URL must differ from DATABASE_URL."
        )
