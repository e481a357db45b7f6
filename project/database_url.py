"""What a database's URL may say, so that what is wrong with it is said before anybody connects."""

import ssl
from importlib.util import find_spec

from sqlalchemy.engine import URL, make_url

DRIVERS = {
    "sqlite": ("pysqlite",),
    "mysql": ("pymysql", "mysqldb"),
    "mariadb": ("pymysql", "mysqldb"),
}
"""The drivers of each database; the first is that of a URL that names none."""

TLS_OPTIONS = (
    "ssl_ca",
    "ssl_capath",
    "ssl_cert",
    "ssl_key",
    "ssl_cipher",
    "ssl_check_hostname",
)
COMMON_OPTIONS = (
    *TLS_OPTIONS,
    "charset",
    "client_flag",
    "collation",
    "connect_timeout",
    "init_command",
    "local_infile",
    "read_default_file",
    "read_default_group",
    "read_timeout",
    "sql_mode",
    "unix_socket",
    "use_unicode",
    "write_timeout",
)
OPTIONS = {
    "pysqlite": (
        "cached_statements",
        "check_same_thread",
        "detect_types",
        "isolation_level",
        "timeout",
        "uri",
    ),
    "pymysql": (*COMMON_OPTIONS, "bind_address", "program_name"),
    "mysqldb": (*COMMON_OPTIONS, "auth_plugin", "compress", "ssl_mode"),
}
"""What each driver takes from a URL: those that text can say, and that do what they say.

PyMySQL's own ``ssl_verify_identity`` is none of them: without a file of authorities it does not
look at the server's name, and beside one it takes those of the system instead.
"""

TLS_WORDS = ("ssl", "tls")
TLS_ADVICE = (
    "For TLS, say ssl_ca=/path/of/the/authority.pem: then the server's certificate and"
    " name are checked."
)
NEEDLESS_OPTIONS = ("servertimezone", "allowpublickeyretrieval", "reconnect", "autoreconnect")
NEEDLESS_ADVICE = "Leave it out: it belongs to another driver, and nothing needs it here."


def engine_url(url: str | URL) -> URL:
    """Return the URL with a driver: that of ``mysql://`` and ``mariadb://`` is PyMySQL.

    :raises sqlalchemy.exc.ArgumentError: it is not a URL.
    """
    url = make_url(url)
    if url.drivername in ("mysql", "mariadb"):
        return url.set(drivername=f"{url.drivername}+pymysql")
    return url


def check(url: URL) -> None:
    """Refuse what no driver of ours could connect with, wherever the database is.

    :param url: as engine_url gives it.
    :raises ValueError: the message says what is wrong, and what to say instead.
    """
    backend, _, driver = url.drivername.partition("+")
    if backend not in DRIVERS:
        raise ValueError(f"{backend} is not supported.")
    default, *_others = DRIVERS[backend]
    driver = driver or default
    if driver not in DRIVERS[backend]:
        raise ValueError(f"{driver} is not supported; {backend}:// alone takes {default}.")
    if driver == "mysqldb" and find_spec("MySQLdb") is None:
        raise ValueError(f"mysqlclient is not installed; {backend}:// alone takes {default}.")
    if backend == "sqlite":
        if url.database in {None, "", ":memory:"}:
            raise ValueError("SQLite needs a file; try sqlite:///users.db.")
    else:
        _check_place(url, driver)
    _check_options(url, driver)


def _check_place(url: URL, driver: str) -> None:
    if not url.database:
        raise ValueError("it names no database; try mysql://USER:PASSWORD@HOST:3306/NAME.")
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise ValueError(f"{url.port} is no port: they go from 1 to 65535.")
    try:
        (url.host or "").encode("idna")
    except UnicodeError as error:
        raise ValueError(f"{url.host} is no name of a host.") from error
    if driver == "pymysql" and any(ord(character) > 255 for character in url.password or ""):
        raise ValueError("PyMySQL can send no password with characters outside Latin-1.")


def _check_options(url: URL, driver: str) -> None:
    anything = driver == "pysqlite" and "uri" in url.query  # SQLite's own, for its file
    for name, value in url.query.items():
        if name not in OPTIONS[driver] and not anything:
            raise ValueError(f"{driver} takes no option {name!r} here. {_advice(name, driver)}")
        if not isinstance(value, str):
            raise ValueError(f"the option {name} is there more than once.")
    try:
        # As the engine will do it: numbers that are none are met here.
        url.get_dialect()().create_connect_args(url)
    except ValueError as error:
        raise ValueError(f"an option has a wrong value: {error}.") from error
    _check_tls({name: str(url.query[name]) for name in TLS_OPTIONS if name in url.query})


def _advice(name: str, driver: str) -> str:
    plain = name.lower().replace("-", "").replace("_", "")
    if plain in NEEDLESS_OPTIONS:
        return NEEDLESS_ADVICE
    if driver != "pysqlite" and any(word in plain for word in TLS_WORDS):
        return TLS_ADVICE
    return f"It takes {', '.join(sorted(OPTIONS[driver]))}."


def _check_tls(options: dict[str, str]) -> None:
    """Read the files once: PyMySQL would read them at each connection, and fail in its own way."""
    if not options:
        return
    try:
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca"), capath=options.get("ssl_capath")
        )
        if "ssl_cert" in options:
            context.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
        if "ssl_cipher" in options:
            context.set_ciphers(options["ssl_cipher"])
    except OSError as error:
        given = ", ".join(f"{name}={value}" for name, value in options.items())
        raise ValueError(f"TLS is not possible with {given}: {error}.") from error
