"""A client in Python: adds a user, renames it, and counts all users.

Usage: python examples/client.py [http://127.0.0.1:5000]
"""

import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx

PASSING = {409, 429, 502, 503, 504}


def add_user(api: httpx.Client, user: dict[str, str]) -> dict[str, Any]:
    """Add a user; with its key, a request whose answer was lost is sent again without harm."""
    key = {"Idempotency-Key": str(uuid4())}
    for pause in (0.1, 1, 5):
        try:
            answer = api.post("/users", json=user, headers=key)
            if answer.status_code not in PASSING:
                break
        except httpx.TransportError:
            pass
        time.sleep(pause)
    else:
        answer = api.post("/users", json=user, headers=key)
    added: dict[str, Any] = answer.raise_for_status().json()["data"]
    return added


def rename_user(api: httpx.Client, address: str, username: str) -> dict[str, Any]:
    """Change a user's name; where somebody else has just changed the user, look again first."""
    while True:
        tag = api.get(address).raise_for_status().headers["ETag"]
        answer = api.patch(address, json={"username": username}, headers={"If-Match": tag})
        if answer.status_code != 412:
            renamed: dict[str, Any] = answer.raise_for_status().json()["data"]
            return renamed


def all_users(api: httpx.Client) -> Iterator[dict[str, Any]]:
    """Give every user, page by page."""
    address: str | None = "/users?limit=100"
    while address:
        page = api.get(address).raise_for_status()
        yield from page.json()["data"]["users"]
        address = page.links.get("next", {}).get("url")


if __name__ == "__main__":
    with httpx.Client(base_url=(sys.argv[1:] or ["http://127.0.0.1:5000"])[0]) as api:
        added = add_user(api, {"username": "Ada", "email": f"ada-{uuid4()}@example.com"})
        print(rename_user(api, f"/users/{added['id']}", "Ada Lovelace"))
        print(sum(1 for _ in all_users(api)), "users")
