"""Checks a database URL, so that errors in it are reported before the first connection."""

import ssl
from importlib.util import find_spec

from sqlalchemy.engine import URL, make_url

DRIVERS = {
    "sqlite": ("pysqlite",),
    "mysql": ("pymysql", "mysqldb"),
    "mariadb": ("pymysql", "mysqldb"),
}
"""The drivers of each database; the first is the default."""

TLS_OPTIONS = "ssl_ca ssl_capath ssl_cert ssl_key ssl_cipher ssl_check_hostname".split()
COMMON_OPTIONS = """
    charset client_flag collation connect_timeout init_command local_infile read_default_file
    read_default_group read_timeout sql_mode unix_socket use_unicode write_timeout
    """.split()
SQLITE_OPTIONS = "cached_statements check_same_thread detect_types isolation_level timeout uri"
OPTIONS = {
    "pysqlite": SQLITE_OPTIONS.split(),
    "pymysql": [*TLS_OPTIONS, *COMMON_OPTIONS, "bind_address", "program_name"],
    "mysqldb": [*TLS_OPTIONS, *COMMON_OPTIONS, "auth_plugin", "compress", "ssl_mode"],
}
"""The options of each driver that a URL may set: those that text can express and that work.

PyMySQL's ``ssl_verify_identity`` is not among them. Without a CA file it does not check the
server's name; with one it uses the system's CAs instead.
"""

TLS_WORDS = ("ssl", "tls")
TLS_ADVICE = (
    "For TLS, set ssl_ca=/path/to/ca.pem; then the server's certificate and host name are verified."
)
NEEDLESS_OPTIONS = ("servertimezone", "allowpublickeyretrieval", "reconnect", "autoreconnect")
NEEDLESS_ADVICE = "Remove it: it belongs to another driver and is not needed."


def engine_url(url: str | URL) -> URL:
    """Return the URL with a driver: for ``mysql://`` and ``mariadb://`` it is PyMySQL.

    :raises sqlalchemy.exc.ArgumentError: it is not a URL.
    """
    url = make_url(url)
    if url.drivername in ("mysql", "mariadb"):
        return url.set(drivername=f"{url.drivername}+pymysql")
    return url


def check(url: URL) -> None:
    """Refuse a URL with which no supported driver could connect.

    :raises ValueError: the message says what is wrong and how to correct it.
    """
    backend, _, driver = url.drivername.partition("+")
    if backend not in DRIVERS:
        raise ValueError(f"{backend} is not supported.")
    default, *_others = DRIVERS[backend]
    driver = driver or default
    if driver not in DRIVERS[backend]:
        raise ValueError(f"{driver} is not supported; {backend}:// alone uses {default}.")
    if driver == "mysqldb" and find_spec("MySQLdb") is None:
        raise ValueError(f"mysqlclient is not installed; {backend}:// alone uses {default}.")
    if backend == "sqlite":
        if url.database in {None, "", ":memory:"}:
            raise ValueError("SQLite needs a file; try sqlite:///users.db.")
    else:
        _check_server(url, driver)
    _check_options(url, driver)


def _check_server(url: URL, driver: str) -> None:
    if not url.database:
        raise ValueError("it does not name a database; try mysql://USER:PASSWORD@HOST:3306/NAME.")
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise ValueError(f"{url.port} is not a port: ports are 1 to 65535.")
    try:
        (url.host or "").encode("idna")
    except UnicodeError as error:
        raise ValueError(f"{url.host} is not a host name.") from error
    if driver == "pymysql" and any(ord(character) > 255 for character in url.password or ""):
        raise ValueError("PyMySQL cannot send a password with characters outside Latin-1.")


def _check_options(url: URL, driver: str) -> None:
    is_file_uri = driver == "pysqlite" and "uri" in url.query  # it has SQLite's own options
    for name, value in url.query.items():
        if name not in OPTIONS[driver] and not is_file_uri:
            raise ValueError(
                f"{driver} does not support the option {name!r}. {_advice(name, driver)}"
            )
        if not isinstance(value, str):
            raise ValueError(f"the option {name} is repeated.")
    try:
        # As the engine will do it: this fails on invalid numbers.
        url.get_dialect()().create_connect_args(url)
    except ValueError as error:
        raise ValueError(f"an option has an invalid value: {error}.") from error
    _check_tls({name: str(url.query[name]) for name in TLS_OPTIONS if name in url.query})


def _advice(name: str, driver: str) -> str:
    normalised = name.lower().replace("-", "").replace("_", "")
    if normalised in NEEDLESS_OPTIONS:
        return NEEDLESS_ADVICE
    if driver != "pysqlite" and any(word in normalised for word in TLS_WORDS):
        return TLS_ADVICE
    return f"Supported: {', '.join(sorted(OPTIONS[driver]))}."


def _check_tls(options: dict[str, str]) -> None:
    """Load the files once: PyMySQL loads them at each connection and reports errors poorly."""
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
        raise ValueError(f"TLS cannot be set up with {given}: {error}.") from error
