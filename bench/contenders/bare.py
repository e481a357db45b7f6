"""`bare`: the floor. A WSGI function, a connection of PyMySQL a thread, one query, orjson."""

import os
from collections.abc import Callable, Iterable
from threading import local
from typing import Any
from urllib.parse import urlsplit

import orjson
import pymysql
from pymysql.cursors import DictCursor

OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
SELECT = """
    SELECT id, username, email, active, created_at, updated_at, role, last_sign_in_at
    FROM users WHERE id = %s"""
JSON = [("Content-Type", "application/json")]
place = urlsplit(os.environ["DATABASE_URL"])
thread = local()


def connection() -> pymysql.Connection:
    """Return the connection of this thread."""
    if not hasattr(thread, "connection"):
        thread.connection = pymysql.connect(
            host=place.hostname,
            port=place.port or 3306,
            user=place.username,
            database=place.path[1:],
            autocommit=True,
            cursorclass=DictCursor,
        )
    return thread.connection


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer about one user."""
    if environ["PATH_INFO"] == "/ping":
        start_response("200 OK", JSON)
        return [orjson.dumps({"status": "success", "message": "pong!"})]
    with connection().cursor() as cursor:
        cursor.execute(SELECT, environ["PATH_INFO"].removeprefix("/users/"))
        user = cursor.fetchone()
    user["active"] = bool(user["active"])
    body = orjson.dumps({"status": "success", "data": user}, option=OPTIONS)
    start_response("200 OK", [*JSON, ("Content-Length", str(len(body)))])
    return [body]
