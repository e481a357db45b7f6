"""What is asked of every contender, and the check that they all answer alike."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from itertools import count, cycle
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import jwt

USERS_PER_PAGE = 20
DIFFERENT_READS = 5_000
DIFFERENT_WRITES = 60_000  # more than any contender adds in a round: no email comes twice
KNOWN_USER = 7
GENERATED = {"id", "created_at", "updated_at"}
FORGED = f"Bearer {jwt.encode({'sub': '7'}, 'of somebody else ' * 2, 'HS256')}"

_rounds = count(1)


@dataclass(frozen=True)
class Facts:
    """What a server holds, as far as requests depend on it.

    :param users: as ``GET /users`` shows them, in order of their ids.
    :param cursor: in this server's own form, of the page after the middle one.
    :param etag: of user 7.
    """

    users: list[dict[str, Any]]
    cursor: str
    etag: str


Requests = Callable[[Facts, Random], Iterator[str]]


def _repeated(request: str) -> Iterator[str]:
    yield from [request] * 100  # one for each address


def _one_user(facts: Facts, chance: Random) -> Iterator[str]:
    for user in chance.choices(facts.users, k=DIFFERENT_READS):
        yield f"GET /users/{user['id']}"


def _exact_email(facts: Facts, chance: Random) -> Iterator[str]:
    for user in chance.choices(facts.users, k=DIFFERENT_READS):
        yield f"GET /users?email={quote(user['email'])}"


def _first_page(_facts: Facts, _chance: Random) -> Iterator[str]:
    return _repeated(f"GET /users?limit={USERS_PER_PAGE}")


def _deep_page(facts: Facts, _chance: Random) -> Iterator[str]:
    query = urlencode({"limit": USERS_PER_PAGE, "cursor": facts.cursor})
    return _repeated(f"GET /users?{query}")


def _create(_facts: Facts, _chance: Random) -> Iterator[str]:
    label = next(_rounds)
    for number in range(DIFFERENT_WRITES):
        body = {"username": f"New {number}", "email": f"new-{label}-{number}@example.com"}
        yield f"POST /users {json.dumps(body)}"


def _update(facts: Facts, chance: Random) -> Iterator[str]:
    label = next(_rounds)
    for number, user in enumerate(chance.choices(facts.users, k=DIFFERENT_WRITES)):
        yield f"PATCH /users/{user['id']} {json.dumps({'username': f'U {label} {number}'})}"


def _mix(facts: Facts, chance: Random) -> Iterator[str]:
    """Of twenty requests, twelve read a user, six a list, one adds and one changes a user."""
    each = [
        *[cycle(list(_one_user(facts, chance)))] * 12,
        *[cycle(list(kind(facts, chance))) for kind in LISTS] * 2,
        _create(facts, chance),
        _update(facts, chance),
    ]
    for _ in range(DIFFERENT_WRITES // 20):
        chance.shuffle(each)
        yield from map(next, each)


def _search(*words: str, filters: str = "") -> Requests:
    """Return searches; ``{word}`` is the start of a word that one user has, ``{digit}`` of many."""
    query = quote(" ".join(words), safe="{}") + filters

    def requests(facts: Facts, chance: Random) -> Iterator[str]:
        for user in chance.choices(facts.users, k=DIFFERENT_READS):
            filled = query.format(word=user["email"][:9], digit=chance.randrange(10))
            yield f"GET /users?limit={USERS_PER_PAGE}&q={filled}"

    return requests


LISTS = (_first_page, _deep_page, _exact_email)
READS: dict[str, Requests] = {
    "one user": _one_user,
    "first page of 20": _first_page,
    "deep page of 20": _deep_page,
    "exact email": _exact_email,
    "the page /": lambda *_: _repeated("GET /"),
    "304 by ETag": lambda *_: _repeated(f"GET /users/{KNOWN_USER}"),
}
SEARCHES: dict[str, Requests] = {
    "search: a digit that many begin with": _search("{digit}"),
    "search: a word of one user": _search("{word}"),
    "search: a word of all": _search("example"),
    "search: words of all and many": _search("com", "{digit}"),
    "search: a word of all, active": _search("example", filters="&active=true"),
    "search: a word of all, role nobody has": _search("example", filters="&role=admin"),
}
"""By words within names and addresses; other services do not have that."""
WORKLOADS: dict[str, Requests] = {
    "ping": lambda *_: _repeated("GET /ping"),
    **READS,
    "create": _create,
    "update": _update,
    "mix, 90 % reads": _mix,
}


def headers_of(workload: str, facts: Facts) -> dict[str, str]:
    """Return the headers with which the requests of a workload are sent."""
    if workload == "the page /":
        return {"Accept": "text/html"}
    json_type = {"Content-Type": "application/json"}
    return {**json_type, "If-None-Match": facts.etag} if workload == "304 by ETag" else json_type


def ask(
    url: str, request: str, headers: dict[str, str]
) -> tuple[int, Message, dict[str, Any] | str]:
    """Send a request; return status, headers, and the body: of JSON, the object."""
    method, path, *body = request.split(" ", 2)
    data = body[0].encode() if body else None
    try:
        answer = urlopen(Request(url + path, data, headers, method=method), timeout=30)
    except HTTPError as error:  # also 304
        answer = error
    with answer:
        text = answer.read().decode()
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    return answer.status, answer.headers, json.loads(text) if is_json and text else text


def learn(url: str, headers: dict[str, str]) -> Facts:
    """Ask a server for what it holds."""
    users: list[dict[str, Any]] = []
    cursors: list[str] = []
    path = "/users?limit=500"
    while path:
        data: Any = ask(url, f"GET {path}", headers)[2]
        users += data["data"]["users"]
        following = data["data"]["next"]
        path = f"/users?{urlencode({'limit': 500, 'cursor': following})}" if following else ""
        cursors.append(following)
    etag = ask(url, f"GET /users/{KNOWN_USER}", headers)[1]["ETag"]
    return Facts(users, cursors[(len(cursors) - 1) // 2] or "", etag)


def answers(
    url: str, headers: dict[str, str], facts: Facts, workloads: list[str]
) -> dict[str, object]:
    """Return what a server answers to one request of each workload, and to some mistakes.

    Left out is what may differ: cursors, the ids and times of new users, and how a page looks.

    :param headers: with credentials; empty: the server asks for none.
    """
    mistakes = {
        "no such user": "GET /users/999999999",
        "a taken email": f'POST /users {{"username": "x", "email": "{facts.users[0]["email"]}"}}',
        "no email": 'POST /users {"username": "x", "email": "x"}',
    }
    requests = {name: next(WORKLOADS[name](facts, Random(name))) for name in workloads}
    told: dict[str, object] = {}
    for name, request in {**requests, **mistakes}.items():
        if name in mistakes and "create" not in workloads:
            continue
        status, _, body = ask(url, request, headers | headers_of(name, facts))
        told[name] = (status, _comparable(name, body))
    if headers:
        for name, other in {"no token": {}, "another's token": {"Authorization": FORGED}}.items():
            status, _, body = ask(url, f"GET /users/{KNOWN_USER}", other)
            told[name] = (status, _comparable(name, body))
    return told


def without_label(text: str) -> str:
    """Return a text without what distinguishes the users that each round adds and renames."""
    return re.sub(r"(new-|U )\d+", r"\1", text)


def _comparable(name: str, body: dict[str, Any] | str) -> object:
    if isinstance(body, str):
        return re.findall(r"<strong>(.*?)</strong> - <em>(.*?)</em>", body)
    body = dict(json.loads(without_label(json.dumps(body))))
    if body["status"] == "fail":
        return body["message"]
    data = body.get("data", {})
    if name == "create":
        return body["message"], {key: data[key] for key in data.keys() - GENERATED}
    if name == "update":
        return data["username"]
    return data.get("users", data)
