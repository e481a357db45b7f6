"""The same rules behind each door: JSON, SCIM and the forms of the pages.

``DOORS`` are the ways to add, change and remove a user, ``REFUSED`` what each of them refuses. What
one refuses, all refuse, and nothing changes. ``GROUP_DOORS`` and ``GROUPS_REFUSED`` are the same
of groups.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from threading import Barrier
from typing import Any, NamedTuple

from flask import Flask

from project import create_app, db
from project.api.audit import service as audit
from project.api.auth import service as auth
from project.api.groups import service as groups
from project.api.models import SCIMUser
from project.database import in_transaction, read
from project.tests.base import BaseTestCase, Protected, empty_tables
from project.tests.factories import all_users, make_group, make_user
from project.web.guard import SCOPES_OF_ROLE, Principal

AT_ONCE = 9
"""How many requests race; a multiple of the number of doors."""
STALE = 99


class Caller(NamedTuple):
    """Somebody with the credentials that the doors ask for.

    :ivar session: the value of the cookie.
    """

    app: Flask
    token: str
    key: str
    session: str

    def call(self, method: str, path: str, version: int | None = None, **options: Any) -> int:
        """Send a request to an API; return the status."""
        is_scim = path.startswith("/scim")
        headers = {"Authorization": f"Bearer {self.key if is_scim else self.token}"}
        if version is not None:
            headers["If-Match"] = f'W/"{version}"' if is_scim else f'"{version}"'
        return (
            self.app.test_client().open(path, method=method, headers=headers, **options).status_code
        )

    def send_form(self, path: str, form: dict[str, str]) -> int:
        """Send a form; return the status."""
        client = self.app.test_client()
        with client.session_transaction() as cookie:
            cookie["sign_in"] = self.session
        return client.post(path, data=form, headers={"Accept": "text/html"}).status_code


class Door(NamedTuple):
    """A way to change users; each function returns the status.

    :ivar create: gets the caller and an email.
    :ivar change: gets the caller, a user's id, the version that is to be changed, and new values of
        ``username``, ``email`` and ``active``.
    :ivar remove: gets the caller, a user's id, and the version that is to be removed.
    :ivar created: the status of success.
    """

    create: Callable[[Caller, str], int]
    change: Callable[..., int]
    remove: Callable[[Caller, int, int], int]
    created: int
    changed: int
    removed: int


def create_by_json(caller: Caller, email: str) -> int:
    """POST /users."""
    return caller.call("POST", "/users", json={"username": "New", "email": email})


def change_by_json(caller: Caller, user_id: int, version: int, **changes: Any) -> int:
    """PATCH /users/<id>."""
    return caller.call("PATCH", f"/users/{user_id}", version, json=changes)


def remove_by_json(caller: Caller, user_id: int, version: int) -> int:
    """DELETE /users/<id>."""
    return caller.call("DELETE", f"/users/{user_id}", version)


SCIM_PATHS = {
    "username": "displayName",
    "email": 'emails[type eq "work"].value',
    "active": "active",
}


def create_by_scim(caller: Caller, email: str) -> int:
    """POST /scim/v2/Users."""
    return caller.call("POST", "/scim/v2/Users", json={"userName": email, "displayName": "New"})


def change_by_scim(caller: Caller, user_id: int, version: int, **changes: Any) -> int:
    """PATCH /scim/v2/Users/<id>."""
    operations = [
        {"op": "replace", "path": SCIM_PATHS[name], "value": value}
        for name, value in changes.items()
    ]
    body = {"Operations": operations}
    return caller.call("PATCH", f"/scim/v2/Users/{user_id}", version, json=body)


def remove_by_scim(caller: Caller, user_id: int, version: int) -> int:
    """DELETE /scim/v2/Users/<id>."""
    return caller.call("DELETE", f"/scim/v2/Users/{user_id}", version)


def create_by_form(caller: Caller, email: str) -> int:
    """POST / of the page with the list."""
    return caller.send_form("/", {"username": "New", "email": email})


def change_by_form(caller: Caller, user_id: int, version: int, **changes: Any) -> int:
    """POST /user/<id>, whose form has all values."""
    with caller.app.app_context():
        users = [user for user in all_users() if user.id == user_id]
    values = {"username": "x", "email": "x@example.com", "active": True}
    for user in users:
        values = {"username": user.username, "email": user.email, "active": user.active}
    values |= changes
    form = {name: str(value) for name, value in values.items() if name != "active"}
    form |= {"active": "y"} if values["active"] else {}
    return caller.send_form(f"/user/{user_id}", {**form, "version": str(version)})


def remove_by_form(caller: Caller, user_id: int, version: int) -> int:
    """POST /remove/<id>."""
    return caller.send_form(f"/remove/{user_id}", {"version": str(version)})


DOORS = {
    "JSON": Door(create_by_json, change_by_json, remove_by_json, 201, 200, 200),
    "SCIM": Door(create_by_scim, change_by_scim, remove_by_scim, 201, 200, 204),
    "page": Door(create_by_form, change_by_form, remove_by_form, 303, 303, 303),
}

ADA = "ada@example.com"
BOB, LAST = 2, 3
"""The ids of an ordinary user, and of the last administrator who can sign in."""


class Refused(NamedTuple):
    """What all doors refuse.

    :ivar role: the caller's.
    :ivar attempt: gets a door and the caller.
    :ivar statuses: those of the doors, in their order.
    """

    role: str
    attempt: Callable[[Door, Caller], int]
    statuses: tuple[int, int, int]


REFUSED = {
    "an email that is taken": Refused(
        "editor", lambda door, caller: door.create(caller, ADA.upper()), (400, 409, 400)
    ),
    "an email that is none": Refused(
        "editor", lambda door, caller: door.create(caller, "none"), (400, 400, 400)
    ),
    "a change to an email that is taken": Refused(
        "editor", lambda door, caller: door.change(caller, BOB, 1, email=ADA), (400, 409, 400)
    ),
    "a change to a name that is too long": Refused(
        "editor",
        lambda door, caller: door.change(caller, BOB, 1, username="x" * 129),
        (400, 400, 400),
    ),
    "a change of another version": Refused(
        "editor",
        lambda door, caller: door.change(caller, BOB, STALE, username="Bobby"),
        (412, 412, 412),
    ),
    "the removal of another version": Refused(
        "editor", lambda door, caller: door.remove(caller, BOB, STALE), (412, 412, 412)
    ),
    "a change of nobody": Refused(
        "editor", lambda door, caller: door.change(caller, 999, 1, username="x"), (404, 404, 404)
    ),
    "the removal of nobody": Refused(
        "editor", lambda door, caller: door.remove(caller, 999, 1), (404, 404, 404)
    ),
    "a change of an administrator": Refused(
        "editor", lambda door, caller: door.change(caller, LAST, 1, username="x"), (403, 403, 403)
    ),
    "the deactivation of an administrator": Refused(
        "editor", lambda door, caller: door.change(caller, LAST, 1, active=False), (403, 403, 403)
    ),
    "the removal of an administrator": Refused(
        "editor", lambda door, caller: door.remove(caller, LAST, 1), (403, 403, 403)
    ),
    "the deactivation of the last administrator": Refused(
        "admin", lambda door, caller: door.change(caller, LAST, 1, active=False), (409, 409, 409)
    ),
    "the removal of the last administrator": Refused(
        "admin", lambda door, caller: door.remove(caller, LAST, 1), (409, 409, 409)
    ),
    "a new user without the permission": Refused(
        "viewer", lambda door, caller: door.create(caller, "new@example.com"), (403, 403, 403)
    ),
    "a change without the permission": Refused(
        "viewer", lambda door, caller: door.change(caller, BOB, 1, username="x"), (403, 403, 403)
    ),
    "a removal without the permission": Refused(
        "viewer", lambda door, caller: door.remove(caller, BOB, 1), (403, 403, 403)
    ),
}


class Unguarded(Protected):
    """Settings without the guard, which would stop the caller's key."""

    DEACTIVATION_GUARD = False


class DoorTestCase(BaseTestCase):
    """The same people for each case: Ada, Bob, the last administrator, and the caller."""

    def create_app(self) -> Flask:
        return create_app(Unguarded)

    def start(self, role: str) -> Caller:
        """Bring the tables to what each case starts with; return a caller of this role."""
        db.session.remove()
        empty_tables()
        make_user(username="Ada", email=ADA, active=True)
        make_user(username="Bob", email="bob@example.com", active=True)
        make_user(email="last@example.com", role="admin", active=True, password_hash="x")
        # Who has no password cannot sign in, and so is no administrator who counts.
        return self.make_caller(make_user(username="Caller", role=role, active=True))

    def make_caller(self, user: Any) -> Caller:
        """Return a user's credentials."""
        made = in_transaction(auth._sign_in)(user, 0)
        scopes = SCOPES_OF_ROLE[user.role] if user.role else frozenset()
        who = Principal(user.id, user.username, user.role, scopes)
        key = in_transaction(auth.create_key)(who, "door", sorted(scopes), None).key
        db.session.remove()
        return Caller(self.app, made.token, key, made.session)

    def state(self) -> Any:
        """Return all that a refused request must not change."""
        events = [each for each in audit.list_events(50) if not each.action.startswith("key.")]
        rows = read(SCIMUser.__table__.select(), {})
        return [tuple(user) for user in all_users()], [each.id for each in events], len(rows)

    def at_once(self, attempts: Iterable[Callable[[], int]]) -> list[int]:
        """Make attempts at the same time; return the statuses in their order."""
        waiting = [*attempts]
        start = Barrier(len(waiting))

        def run(attempt: Callable[[], int]) -> int:
            start.wait()
            return attempt()

        db.session.remove()
        with ThreadPoolExecutor(len(waiting)) as pool:
            return [*pool.map(run, waiting)]


class DoorTests(DoorTestCase):
    """Every door of users."""

    def races(self) -> Iterable[tuple[str, list[Door]]]:
        """Yield the doors through which requests race: one of them, and all together."""
        for name, door in DOORS.items():
            yield name, [door] * AT_ONCE
        yield "all", [*DOORS.values()] * (AT_ONCE // len(DOORS))

    def test_what_one_refuses_all_refuse_and_nothing_changes(self):
        for (what, refused), (index, name) in product(REFUSED.items(), enumerate(DOORS)):
            with self.subTest(what, door=name):
                caller = self.start(refused.role)
                before = self.state()

                status = refused.attempt(DOORS[name], caller)

                self.assertEqual(status, refused.statuses[index])
                self.assertEqual(self.state(), before)

    def test_what_one_does_all_do(self):
        for name, door in DOORS.items():
            with self.subTest(name):
                caller = self.start("editor")

                statuses = [
                    door.create(caller, "new@example.com"),
                    door.change(caller, BOB, 1, username="Bobby", email="b@example.com"),
                    door.remove(caller, 1, 1),
                ]

                self.assertEqual(statuses, [door.created, door.changed, door.removed])
                found = {user.email: user.username for user in all_users()}
                self.assertEqual(found["new@example.com"], "New")
                self.assertEqual(found["b@example.com"], "Bobby")
                self.assertNotIn(ADA, found)

    def test_of_many_at_once_one_gets_the_email(self):
        for name, doors in self.races():
            with self.subTest(name):
                caller = self.start("editor")
                emails = ("new@example.com", "NEW@example.com")

                statuses = self.at_once(
                    partial(door.create, caller, emails[index % 2])
                    for index, door in enumerate(doors)
                )

                pairs = zip(doors, statuses, strict=True)
                self.assertEqual(sum(status == door.created for door, status in pairs), 1, statuses)
                self.assertLessEqual(set(statuses), {201, 303, 400, 409})
                found = [user for user in all_users() if user.email_folded == emails[0]]
                self.assertEqual(len(found), 1)

    def test_of_many_changes_at_once_none_is_lost(self):
        for name, doors in self.races():
            with self.subTest(name):
                caller = self.start("editor")

                statuses = self.at_once(
                    partial(door.change, caller, BOB, 1, username=f"B{index}")
                    for index, door in enumerate(doors)
                )

                winners = [index for index, status in enumerate(statuses) if status != 412]
                self.assertEqual(len(winners), 1, statuses)
                self.assertEqual(statuses[winners[0]], doors[winners[0]].changed)
                bob = next(user for user in all_users() if user.id == BOB)
                self.assertEqual((bob.username, bob.version), (f"B{winners[0]}", 2))

    def test_of_all_administrators_at_once_one_stays(self):
        for first, second in product(DOORS, DOORS):
            with self.subTest(first=first, second=second):
                caller = self.start("admin")
                other = make_user(role="admin", active=True, password_hash="x").id

                statuses = self.at_once(
                    [
                        partial(DOORS[first].change, caller, LAST, 1, active=False),
                        partial(DOORS[second].remove, caller, other, 1),
                    ]
                )

                self.assertEqual(sum(status == 409 for status in statuses), 1, statuses)
                left = [user for user in all_users() if user.id in (LAST, other) and user.active]
                self.assertEqual(len(left), 1)

    def test_removed_is_free_again_for_all(self):
        for first, second in product(DOORS, DOORS):
            with self.subTest(removed=first, created=second):
                caller = self.start("editor")

                removed = DOORS[first].remove(caller, 1, 1)
                created = DOORS[second].create(caller, ADA)

                self.assertEqual(removed, DOORS[first].removed)
                self.assertEqual(created, DOORS[second].created)
                [ada] = [user for user in all_users() if user.email == ADA]
                self.assertGreater(ada.id, 4)

    def test_deactivated_is_signed_out_at_once(self):
        for name, door in DOORS.items():
            with self.subTest(name):
                caller = self.start("editor")
                user = make_user(username="V", role="viewer", active=True)
                signed_in = self.make_caller(user)
                self.assertEqual(self.answered(signed_in), (200, 200, 200))

                self.assertEqual(door.change(caller, user.id, 1, active=False), door.changed)

                self.assertEqual(self.answered(signed_in), (401, 401, 303))

    def answered(self, caller: Caller) -> tuple[int, int, int]:
        """Return what the token, the key and the cookie are answered."""
        client = self.app.test_client()
        with client.session_transaction() as cookie:
            cookie["sign_in"] = caller.session
        page = client.get("/", headers={"Accept": "text/html"})
        return caller.call("GET", "/users"), caller.call("GET", "/scim/v2/Users"), page.status_code


class GroupDoor(NamedTuple):
    """A way to change groups; each function returns the status.

    :ivar rename: gets the caller, the version that is to be changed, and the new name.
    :ivar add: gets the caller and the id of a new member.
    :ivar remove: gets the caller and the version that is to be removed.
    """

    create: Callable[[Caller, str], int]
    rename: Callable[[Caller, int, str], int]
    add: Callable[[Caller, int], int]
    remove: Callable[[Caller, int], int]


def _patch_group_by_scim(caller: Caller, version: int | None, **operation: Any) -> int:
    body = {"Operations": [operation]}
    return caller.call("PATCH", "/scim/v2/Groups/1", version, json=body)


GROUP_DOORS = {
    "JSON": GroupDoor(
        lambda caller, name: caller.call("POST", "/groups", json={"display_name": name}),
        lambda caller, version, name: caller.call(
            "PATCH", "/groups/1", version, json={"display_name": name}
        ),
        lambda caller, user_id: caller.call("POST", "/groups/1/members", json={"ids": [user_id]}),
        lambda caller, version: caller.call("DELETE", "/groups/1", version),
    ),
    "SCIM": GroupDoor(
        lambda caller, name: caller.call("POST", "/scim/v2/Groups", json={"displayName": name}),
        lambda caller, version, name: _patch_group_by_scim(
            caller, version, op="replace", path="displayName", value=name
        ),
        lambda caller, user_id: _patch_group_by_scim(
            caller, None, op="add", path="members", value=[{"value": str(user_id)}]
        ),
        lambda caller, version: caller.call("DELETE", "/scim/v2/Groups/1", version),
    ),
    "page": GroupDoor(
        lambda caller, name: caller.send_form("/group", {"display_name": name}),
        lambda caller, version, name: caller.send_form(
            "/group/1", {"display_name": name, "version": str(version)}
        ),
        lambda caller, user_id: caller.send_form("/group/1/members", {"user_id": str(user_id)}),
        lambda caller, version: caller.send_form("/group/1/remove", {"version": str(version)}),
    ),
}
GROUPS_REFUSED: dict[str, tuple[str, Callable[[GroupDoor, Caller], int], int]] = {
    "a name that is taken": (
        "editor", lambda door, caller: door.create(caller, "DESIGN"), 409
    ),
    "a name that is none": ("editor", lambda door, caller: door.create(caller, ""), 400),
    "a change to a name that is taken": (
        "editor", lambda door, caller: door.rename(caller, 1, "design"), 409
    ),
    "a change of another version": (
        "editor", lambda door, caller: door.rename(caller, STALE, "New"), 412
    ),
    "the removal of another version": (
        "editor", lambda door, caller: door.remove(caller, STALE), 412
    ),
    "a new group without the permission": (
        "viewer", lambda door, caller: door.create(caller, "New"), 403
    ),
    "a change without the permission": (
        "viewer", lambda door, caller: door.rename(caller, 1, "New"), 403
    ),
    "a new member without the permission": (
        "viewer", lambda door, caller: door.add(caller, BOB), 403
    ),
    "a removal without the permission": (
        "viewer", lambda door, caller: door.remove(caller, 1), 403
    ),
}  # fmt: skip
"""What all doors refuse: the role of the caller, the attempt, and the status."""


class GroupDoorTests(DoorTestCase):
    """Every door of groups, each with a group of Ada, and another."""

    def start(self, role: str) -> Caller:
        """Bring the tables to what each case starts with; return a caller of this role."""
        caller = super().start(role)
        make_group("Research", 1)
        make_group("Design")
        db.session.remove()
        return caller

    def groups(self) -> list[tuple[Any, ...]]:
        """Return all groups and their members."""
        with_members = [*groups.list_groups(50), *groups.members_of([1, 2, 3])]
        return [tuple(each) for each in with_members]

    def test_what_one_refuses_all_refuse_and_nothing_changes(self):
        for (what, (role, attempt, status)), name in product(GROUPS_REFUSED.items(), GROUP_DOORS):
            with self.subTest(what, door=name):
                caller = self.start(role)
                before = self.groups(), self.state()

                self.assertEqual(attempt(GROUP_DOORS[name], caller), status)
                self.assertEqual((self.groups(), self.state()), before)

    def test_of_many_at_once_one_gets_the_name(self):
        caller = self.start("editor")
        doors = [*GROUP_DOORS.values()] * (AT_ONCE // len(GROUP_DOORS))

        statuses = self.at_once(partial(door.create, caller, "New") for door in doors)

        self.assertIn(min(statuses), (201, 303))
        self.assertEqual(sorted(statuses)[1:], [409] * (AT_ONCE - 1))

    def test_of_many_changes_at_once_none_is_lost(self):
        caller = self.start("editor")
        doors = [*GROUP_DOORS.values()] * (AT_ONCE // len(GROUP_DOORS))

        statuses = self.at_once(
            partial(door.rename, caller, 1, f"R{index}") for index, door in enumerate(doors)
        )

        won = min(statuses)
        self.assertIn(won, (200, 303))
        self.assertEqual(sorted(statuses)[1:], [412] * (AT_ONCE - 1))
        self.assertEqual(groups.get_group(1).display_name, f"R{statuses.index(won)}")

    def test_of_many_members_at_once_none_is_lost(self):
        caller = self.start("editor")
        new = [make_user().id for _ in range(AT_ONCE)]
        doors = [*GROUP_DOORS.values()] * (AT_ONCE // len(GROUP_DOORS))

        statuses = self.at_once(
            partial(door.add, caller, user_id) for door, user_id in zip(doors, new, strict=True)
        )

        self.assertLessEqual(set(statuses), {200, 303})
        self.assertEqual([row.user_id for row in groups.members_of([1])], [1, *new])

    def test_removed_is_free_again_for_all(self):
        for first, second in product(GROUP_DOORS.values(), GROUP_DOORS.values()):
            caller = self.start("editor")

            self.assertIn(first.remove(caller, 1), (200, 204, 303))
            self.assertIn(second.create(caller, "research"), (201, 303))
            self.assertEqual(groups.list_groups(50)[-1].display_name, "research")
