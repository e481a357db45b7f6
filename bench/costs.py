"""Hold each request to what it costs, in numbers that a busy machine does not change.

Usage: python -m bench.costs [--record]

Counts the SQL statements and the function calls of a request, with production's settings and on
SQLite or on DATABASE_TEST_URL, and fails when one is more than 10 % over what is recorded for that
database in bench/costs.json; ``--record`` writes it anew.
"""

import json
import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import redirect_stdout
from cProfile import Profile
from io import StringIO, TextIOWrapper
from itertools import count
from pathlib import Path
from pstats import Stats
from typing import Any

from werkzeug.test import EnvironBuilder

RECORD = Path(__file__).with_name("costs.json")
MARGIN = 1.1
WARM_UP = 20
REQUESTS = 50
USERS = 200
PAGE = "/users?limit=20"

_numbers = count(1)
_members = count(1)

Cost = dict[str, int]


def requests(cursor: str, etag: str) -> dict[str, Callable[[], EnvironBuilder]]:
    """Return by name what makes the next request of each kind.

    :param cursor: of a page in the middle.
    :param etag: of user 7.
    """
    get = EnvironBuilder
    return {
        "ping": lambda: get("/ping"),
        "one user": lambda: get("/users/7"),
        "one user, known by its ETag": lambda: get("/users/7", headers=[("If-None-Match", etag)]),
        "first page of 20": lambda: get(PAGE),
        "deep page of 20": lambda: get(f"{PAGE}&cursor={cursor}"),
        "exact email": lambda: get("/users?email=made-up-7@example.com"),
        "prefix search": lambda: get(f"{PAGE}&q=made-up-1"),
        "the page /": lambda: get("/", headers=[("Accept", "text/html")]),
        "create": lambda: get(
            "/users",
            method="POST",
            json={"username": "New", "email": f"new-{next(_numbers)}@example.com"},
        ),
        "update": lambda: get("/users/8", method="PATCH", json={"username": f"U{next(_numbers)}"}),
        "page of 20 groups": lambda: get("/groups?limit=20"),
        "add a member": lambda: get(
            "/groups/1/members", method="POST", json={"ids": [next(_members)]}
        ),
    }


def scim_requests() -> dict[str, Callable[[], EnvironBuilder]]:
    """Return by name what makes the next request of each kind of SCIM, which needs a key."""
    users, groups = "/scim/v2/Users", "/scim/v2/Groups"

    def title() -> dict[str, Any]:
        return {"op": "Replace", "path": "title", "value": f"T{next(_numbers)}"}

    def member() -> dict[str, Any]:
        return {"op": "Add", "path": "members", "value": [{"value": str(next(_members))}]}

    return {
        "SCIM: one user": lambda: EnvironBuilder(f"{users}/7"),
        "SCIM: by userName": lambda: EnvironBuilder(
            f"{users}?filter=userName+eq+%22made-up-7@example.com%22"
        ),
        "SCIM: page of 20": lambda: EnvironBuilder(f"{users}?startIndex=1&count=20"),
        "SCIM: create": lambda: EnvironBuilder(
            users, method="POST", json={"userName": f"scim-{next(_numbers)}@example.com"}
        ),
        "SCIM: page of 20 groups": lambda: EnvironBuilder(
            f"{groups}?count=20&excludedAttributes=members"
        ),
        "SCIM: add a member": lambda: EnvironBuilder(
            f"{groups}/2", method="PATCH", json={"Operations": [member()]}
        ),
        "SCIM: PATCH": lambda: EnvironBuilder(
            f"{users}/9", method="PATCH", json={"Operations": [title()]}
        ),
    }


def measure(app: Any, make: Callable[[], EnvironBuilder], headers: dict[str, str]) -> Cost:
    """Return the cost of one request, as the mean of many."""
    from project.tests.wire import recorded_commands

    def environments(number: int) -> list[dict[str, Any]]:
        builders = [make() for _ in range(number)]
        for builder in builders:
            builder.headers.update(headers)
        return [builder.get_environ() for builder in builders]

    for environment in environments(WARM_UP):
        answer(app, environment)
    with app.app_context(), recorded_commands() as commands:
        for environment in environments(REQUESTS):
            answer(app, environment)
    profile = Profile()
    measured = environments(REQUESTS)
    profile.enable()
    for environment in measured:
        answer(app, environment)
    profile.disable()
    calls = Stats(profile).total_calls  # type: ignore[attr-defined]
    return {"statements": len(commands) // REQUESTS, "calls": calls // REQUESTS}


def answer(app: Any, environment: dict[str, Any]) -> bytes:
    """Call the app as a server does, and return the body.

    :raises RuntimeError: the answer is no success.
    """

    def start_response(status: str, _headers: object) -> None:
        if status[0] not in "23":
            raise RuntimeError(f"{environment['PATH_INFO']} was answered {status}")

    chunks = app(environment, start_response)
    body = b"".join(chunks)
    chunks.close()
    return body


def measure_all(folder: str) -> tuple[str, dict[str, Cost]]:
    """Return which kind of database it is, and the cost of each kind of request."""
    # prometheus_client looks for it when it is imported, as in a worker of gunicorn.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    from project import create_app, db
    from project.api.groups import service as groups
    from project.api.users import service
    from project.commands.accounts import create_key
    from project.config import ProductionConfig, refuse_served_database
    from project.tests.base import empty_tables
    from project.web import guard

    url = os.environ.get("DATABASE_TEST_URL") or f"sqlite:///{folder}/users.db"
    refuse_served_database(url)

    class Settings(ProductionConfig):
        SECRET_KEY = "costs" * 10
        SQLALCHEMY_DATABASE_URI = url
        LOG_LEVEL = "INFO"
        ACCESS = "open"

    app = create_app(Settings)
    with app.app_context():
        empty_tables()
        service.create_users([(f"Made up {n}", f"made-up-{n}@example.com") for n in range(USERS)])
        service.create_user("Admin", "admin@example.com", active=True, role="admin")
        for n in range(USERS):
            groups.create_group(f"Group {n}")
        db.session.commit()
        with redirect_stdout(StringIO()) as printed:
            scopes = [scope for scope in guard.scopes() if scope != guard.ADMIN]
            create_key("admin@example.com", "costs", scopes, None)
    client: Any = app.test_client()
    cursor = client.get(PAGE).json["data"]["next"]
    kinds = requests(cursor, client.get("/users/7").headers["ETag"])
    costs = {name: measure(app, make, {}) for name, make in kinds.items()}
    app.config["ACCESS"] = "protected"
    key = {"Authorization": f"Bearer {printed.getvalue().strip()}"}
    del kinds["the page /"]  # is not for keys
    costs |= {f"{name}, with a key": measure(app, kinds[name], key) for name in kinds}
    costs |= {name: measure(app, make, key) for name, make in scim_requests().items()}
    with app.app_context():
        return db.engine.dialect.name, costs


def main() -> int:
    """Measure, and say what has become more expensive."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="take the new numbers as the rule")
    record = parser.parse_args().record
    with tempfile.TemporaryDirectory(prefix="users-costs-") as folder:
        with TextIOWrapper(open(os.devnull, "wb")) as log, redirect_stdout(log):
            database, costs = measure_all(folder)
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    if record:
        recorded[database] = costs
        RECORD.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
    rules: dict[str, Cost] = recorded[database]
    if costs.keys() != rules.keys():
        print("bench/costs.json has other kinds of requests: python -m bench.costs --record")
        return 1
    bad = 0
    print(f"{'':40} statements      calls")
    for name, cost in costs.items():
        over = [what for what in cost if cost[what] > rules[name][what] * MARGIN]
        bad += bool(over)
        figures = [f"{cost[what]:5,} of {rules[name][what]:5,}" for what in cost]
        print(f"{name:40} {'   '.join(figures)}{'   TOO MUCH' if over else ''}")
    if bad:
        print(
            f"{bad} kinds of requests cost more than 10 % over what is recorded. Where that is"
            " worth it: python -m bench.costs --record"
        )
    return bad


if __name__ == "__main__":
    sys.exit(main())
