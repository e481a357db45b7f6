"""Do by SCIM what identity providers do: read all users, page by page, and keep a large group.

Usage: python -m bench.scim [USERS]; 1,000,000 by default, at least 11,000. Fails when a page needs
more of the database's time, or the whole reading, or a change of one member more time than it may.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median, quantiles
from threading import current_thread, main_thread
from typing import Any
from unittest import mock

from pymysql.connections import Connection
from tqdm import tqdm

from bench import report
from bench.load import DATABASE_OPTIONS
from e2e.processes import MariaDB, manage
from e2e.round_trip import write_rows

PAGE = 100
MOST_PAGE_MS = 50
MOST_MINUTES = 10
MEMBERS = 10_000
CHANGES = 200
MOST_MEMBER_MS = 50
GROUPS_HEAD = ["a group of 10,000", "requests", "median, ms", "99 %, ms", "longest, ms"]
HEAD = ["by", "users", "pages", "seconds", "median, ms", "99 %, ms", "longest page, ms"]
FILL = """
    INSERT INTO scim_users (user_id, user_name, user_name_folded, external_id, attributes)
    SELECT id, CONCAT('upn.', email), CONCAT('upn.', email_folded), CONCAT('x', id), '{}'
    FROM users"""
ATTRIBUTES = (
    '{"name": {"givenName": "Ada", "familyName": "Lovelace"}, "title": "Countess",'
    ' "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Engines"}}'
)


@contextmanager
def database_time() -> Iterator[dict[str, float]]:
    """Give the seconds for which requests wait for the database so far, by what it is told.

    That is also the thread that stores places: ``wait``.
    """
    from project.api.scim import places

    waits: list[tuple[Any, str]] = [(places, "wait")]
    waits += [(Connection, name) for name in ("query", "commit", "rollback", "begin")]
    spent = dict.fromkeys((name for _owner, name in waits), 0.0)
    with ExitStack() as stack:
        for owner, name in waits:
            stack.enter_context(mock.patch.object(owner, name, _timed(owner, name, spent)))
        yield spent


def _timed(owner: Any, name: str, spent: dict[str, float]) -> Any:
    call = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(*arguments, **options)
        finally:
            if current_thread() is main_thread():  # others store places and count the users
                spent[name] += time.perf_counter() - start

    return timed


def make_app(url: str) -> tuple[Any, str]:
    """Return the application on a database with users, and an API key."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.devnull
    from project import create_app, db
    from project.api.users import service
    from project.commands.accounts import create_key
    from project.config import ProductionConfig

    class Settings(ProductionConfig):
        SECRET_KEY = "scim" * 10
        SQLALCHEMY_DATABASE_URI = url
        LOG_LEVEL = "ERROR"

    app = create_app(Settings)
    with app.app_context(), redirect_stdout(StringIO()) as printed:
        from sqlalchemy import text

        db.session.execute(text(FILL.replace("'{}'", ":attributes")), {"attributes": ATTRIBUTES})
        service.create_user("Okta", "okta@example.com", active=True, role="editor")
        db.session.commit()
        scopes = ["users:read", "groups:read", "groups:write"]
        create_key("okta@example.com", "bench", scopes, None)
    return app, printed.getvalue().strip()


def read_all(app: Any, key: str, count: int, by: str) -> tuple[tuple[Any, ...], bool]:
    """Read all users; return a row of the table, and whether it was quick enough."""
    client, pages, found = app.test_client(), [], 0
    headers = {"Authorization": f"Bearer {key}"}
    position: Any = 1 if by == "startIndex" else ""
    start = time.perf_counter()
    with database_time() as spent, tqdm(total=count + 1, unit=" users", desc=by) as progress:
        while position is not None:
            before = sum(spent.values())
            query = f"{by}={position}&count={PAGE}"
            page = client.get(f"/scim/v2/Users?{query}", headers=headers).json
            pages.append((sum(spent.values()) - before) * 1000)
            rows = len(page["Resources"])
            found += rows
            progress.update(rows)
            position = page.get("nextCursor") if by == "cursor" else position + rows
            if by == "startIndex" and position > page["totalResults"]:
                break
    seconds = time.perf_counter() - start
    if found != count + 1:
        raise RuntimeError(f"{found:,} users were read instead of {count + 1:,}.")
    figures = [median(pages), quantiles(pages, n=100)[98], max(pages)]
    row = (by, f"{count:,}", f"{len(pages):,}", *map(report.figure, [seconds, *figures]))
    return row, max(pages) <= MOST_PAGE_MS and seconds <= MOST_MINUTES * 60


def change_members(app: Any, key: str) -> tuple[list[tuple[str, ...]], bool]:
    """Add and remove members of a large group; return rows, and whether it was quick enough."""
    client, headers = app.test_client(), {"Authorization": f"Bearer {key}"}
    members = [{"value": str(user_id)} for user_id in range(1, MEMBERS + 1)]
    body = {"displayName": "Everybody", "members": members}
    answer = client.post("/scim/v2/Groups?attributes=id", json=body, headers=headers)
    group = f"/scim/v2/Groups/{answer.json['id']}"
    others = range(MEMBERS + 1, MEMBERS + CHANGES + 1)

    def patch(op: dict[str, Any]) -> None:
        answer = client.patch(group, json={"Operations": [op]}, headers=headers)
        if answer.status_code != 204:
            raise RuntimeError(answer.text)

    kinds: dict[str, Callable[[int], Any]] = {
        "add one member": lambda each: patch(
            {"op": "add", "path": "members", "value": [{"value": str(each)}]}
        ),
        "remove one member": lambda each: patch(
            {"op": "remove", "path": f'members[value eq "{each}"]'}
        ),
        "get it without members": lambda _each: client.get(
            f"{group}?excludedAttributes=members", headers=headers
        ),
        "get it with all members": lambda _each: client.get(group, headers=headers),
    }
    rows, is_quick = [], True
    for name, call in kinds.items():
        took = []
        for each in others:
            start = time.perf_counter()
            call(each)
            took.append((time.perf_counter() - start) * 1000)
        figures = [median(took), quantiles(took, n=100)[98], max(took)]
        rows.append((name, str(len(took)), *map(report.figure, figures)))
        is_quick = is_quick and ("all" in name or figures[0] <= MOST_MEMBER_MS)
    return rows, is_quick


def main() -> int:
    """Measure, and publish."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with MariaDB(DATABASE_OPTIONS) as database, tempfile.TemporaryDirectory() as folder:
        url, rows = database.create_database("scim"), Path(folder, "users.csv")
        write_rows(rows, count)
        manage("db", "upgrade", DATABASE_URL=url)
        manage("import_users", str(rows), DATABASE_URL=url)
        app, key = make_app(url)
        results = [read_all(app, key, count, by) for by in ("startIndex", "cursor")]
        group_rows, is_quick = change_members(app, key)
    what = (
        f"All users by pages of {PAGE}, one after the other; the seconds are those of the whole"
        f" reading, the others the database's for a page. {os.cpu_count()} CPUs,"
        f" {' '.join(DATABASE_OPTIONS)}."
    )
    conditions = report.conditions("Flask", "SQLAlchemy", "PyMySQL")
    table = report.table(HEAD, [row for row, _is_quick in results])
    groups = f"Requests as a whole:\n\n{report.table(GROUPS_HEAD, group_rows)}"
    report.publish("scim", f"{conditions} {what}\n\n{table}\n\n{groups}")
    return 0 if is_quick and all(enough for _row, enough in results) else 1


if __name__ == "__main__":
    sys.exit(main())
