"""The endpoints of groups, over the wire."""

from typing import Any

from project import db
from project.api.groups import service
from project.api.groups.schemas import MAX_IDS
from project.database import in_transaction
from project.tests.audit.base import AuditTestCase
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_group, make_user, make_users
from project.tests.users.test_views import together
from project.tests.wire import recorded_commands

WRONG_NAMES: list[Any] = ["", " ", None, 7, "a\tb", "\u202e", "x" * 257, ["a"]]
Request = tuple[str, str, Any, dict[str, str]]


class GroupTests(BaseTestCase):
    """/groups and /groups/<id>."""

    def test_create_group(self):
        body = {"display_name": "Research", "external_id": "x-1"}
        response = self.client.post("/groups", json=body)

        self.assertEqual(response.status_code, 201)
        group = service.get_group(1)
        time = f"{group.created_at.isoformat()}Z"
        self.assertEqual(
            response.json,
            {
                "status": "success",
                "message": "Research was added!",
                "data": {"id": 1, **body, "created_at": time, "updated_at": time},
            },
        )
        self.assertEqual(response.headers["Location"], "/groups/1")
        self.assertEqual(response.headers["ETag"], '"1"')
        found = self.client.get("/groups/1")
        self.assertEqual(found.json, {"status": "success", "data": response.json["data"]})
        self.assertEqual(found.headers["ETag"], '"1"')

    def test_longest_name_is_kept(self):
        name = "\u0390" * 256  # folded, each is three characters

        response = self.client.post("/groups", json={"display_name": name})

        self.assertEqual(response.status_code, 201)
        self.assertEqual(service.get_group(1).display_name, name)

    def test_name_that_is_none_is_refused_and_named(self):
        make_group("Research")
        for name in WRONG_NAMES:
            with self.subTest(name):
                for response in (
                    self.client.post("/groups", json={"display_name": name}),
                    self.client.patch("/groups/1", json={"display_name": name}),
                ):
                    self.assertEqual(response.status_code, 400)
                    self.assertEqual(response.json["errors"][0]["field"], "display_name")
        for body in ({}, {"display_name": "a", "external_id": 7}, {"display_name": "a", "id": 1}):
            self.assertEqual(self.client.post("/groups", json=body).status_code, 400)
        self.assertEqual(service.count_groups(), 1)

    def test_name_is_taken_in_any_letter_case(self):
        make_group("Straße")
        make_group("Other")

        for response in (
            self.client.post("/groups", json={"display_name": "STRASSE "}),
            self.client.patch("/groups/2", json={"display_name": "strasse"}),
        ):
            self.assertEqual(response.status_code, 409)
            self.assertEqual(response.json["message"], "Another group has this name.")
        self.assertEqual(service.get_group(2).version, 1)
        same = self.client.patch("/groups/1", json={"display_name": "STRASSE"})
        self.assertEqual(same.json["data"]["display_name"], "STRASSE")

    def test_eight_who_add_one_name_at_once_add_one_group(self):
        request: Request = ("POST", "/groups", {"display_name": "Research"}, {})

        self.assertEqual(sorted(together(self.app, [request] * 8)), [201] + [409] * 7)

    def test_request_that_is_sent_again_adds_one_group(self):
        headers = {"Idempotency-Key": "one"}
        answers = [
            self.client.post("/groups", json={"display_name": "Research"}, headers=headers)
            for _ in range(2)
        ]

        self.assertEqual([answer.status_code for answer in answers], [201, 201])
        self.assertEqual(answers[0].json, answers[1].json)
        self.assertEqual(service.count_groups(), 1)

    def test_patch_changes_what_is_sent(self):
        make_group("Research", external_id="x-1")

        renamed = self.client.patch("/groups/1", json={"display_name": "R&D"})
        self.assertEqual(renamed.json["data"]["display_name"], "R&D")
        self.assertEqual(renamed.json["data"]["external_id"], "x-1")
        self.assertEqual(renamed.headers["ETag"], '"2"')
        freed = self.client.patch("/groups/1", json={"external_id": None})
        self.assertIsNone(freed.json["data"]["external_id"])
        for nothing in ({}, {"display_name": "R&D"}):
            same = self.client.patch("/groups/1", json=nothing)
            self.assertEqual(same.json, freed.json)
            self.assertEqual(same.headers["ETag"], '"3"')

    def test_change_needs_the_current_version_where_it_names_one(self):
        make_group("Research", make_user())
        old = {"If-Match": '"7"'}
        for method, path, body in [
            ("PATCH", "/groups/1", {"display_name": "a"}),
            ("DELETE", "/groups/1", None),
            ("POST", "/groups/1/members", {"ids": [1]}),
            ("DELETE", "/groups/1/members", {"ids": [1]}),
        ]:
            with self.subTest(f"{method} {path}"):
                response = self.client.open(path, method=method, json=body, headers=old)
                self.assertEqual(response.status_code, 412)
        self.assertEqual(service.get_group(1).version, 1)
        known = self.client.get("/groups/1", headers={"If-None-Match": '"1"'})
        self.assertEqual(known.status_code, 304)

    def test_delete_keeps_the_members_and_frees_the_name(self):
        user = make_user()
        make_group("Research", user)

        response = self.client.delete("/groups/1")

        self.assertEqual(response.json["message"], "Research was removed!")
        self.assertEqual(self.client.get("/groups/1").status_code, 404)
        self.assertEqual(self.client.get(f"/users/{user.id}").status_code, 200)
        again = self.client.post("/groups", json={"display_name": "Research"})
        self.assertEqual(again.json["data"]["id"], 2)
        self.assertEqual(self.client.get("/groups/2/members").json["data"]["users"], [])

    def test_id_of_no_group_is_not_found_and_no_number_is_wrong(self):
        make_user()
        for method, suffix, body in [
            ("GET", "", None),
            ("PATCH", "", {"display_name": "a"}),
            ("DELETE", "", None),
            ("GET", "/members", None),
            ("POST", "/members", {"ids": [1]}),
            ("DELETE", "/members", {"ids": [1]}),
        ]:
            for group_id, status in [
                *((each, 404) for each in ("-1", "0", "9", "4294967297", "9" * 40)),
                *((each, 400) for each in ("x", "1.5", "%20")),
            ]:
                with self.subTest(f"{method} {group_id}{suffix}"):
                    path = f"/groups/{group_id}{suffix}"
                    response = self.client.open(path, method=method, json=body)
                    self.assertEqual(response.status_code, status, response.text)
        for user_id, status in [("9", 404), ("9" * 40, 404), ("-1", 404), ("x", 400)]:
            response = self.client.get(f"/users/{user_id}/groups")
            self.assertEqual(response.status_code, status)


class ListGroupsTests(BaseTestCase):
    """GET /groups."""

    def setUp(self) -> None:
        super().setUp()
        for name, external_id in [("b", "x"), ("A", None), ("É", "y"), ("c", "x"), ("B2", "X")]:
            make_group(name, external_id=external_id)

    def found(self, **query: Any) -> list[str]:
        """Return the names that a query finds, page by page; each page is as small as can be."""
        names: list[str] = []
        while True:
            response = self.client.get("/groups", query_string={"limit": 1, **query})
            self.assertEqual(response.status_code, 200, response.text)
            data = response.json["data"]
            names += [group["display_name"] for group in data["groups"]]
            if not data["next"]:
                self.assertNotIn("Link", response.headers)
                return names
            self.assertIn(data["next"], response.headers["Link"])
            query["cursor"] = data["next"]

    def test_orders(self):
        by_id, by_name = ["b", "A", "É", "c", "B2"], ["A", "b", "B2", "c", "É"]

        self.assertEqual(self.found(), by_id)
        self.assertEqual(self.found(sort="-id"), by_id[::-1])
        self.assertEqual(self.found(sort="display_name"), by_name)
        self.assertEqual(self.found(sort="-display_name"), by_name[::-1])

    def test_filters(self):
        self.assertEqual(self.found(display_name="B"), ["b"])
        self.assertEqual(self.found(display_name="é", sort="display_name"), ["É"])
        self.assertEqual(self.found(display_name="nobody"), [])
        self.assertEqual(self.found(external_id="x"), ["b", "c"])
        self.assertEqual(self.found(external_id="x", display_name="C"), ["c"])
        self.assertEqual(self.found(q="B"), ["b", "B2"])
        self.assertEqual(self.found(q="b2x"), [])

    def test_total_counts_all_matches(self):
        for query, total in [
            ("", 5),
            ("&external_id=x", 2),
            ("&display_name=nobody", 0),
            ("&q=b", 2),
        ]:
            data = self.client.get(f"/groups?limit=1&total=true{query}").json["data"]
            self.assertEqual(data["total"], total)

    def test_wrong_parameters_are_named(self):
        cursor = self.client.get("/groups?limit=1").json["data"]["next"]
        for query, field in [
            ("sort=external_id", "sort"),
            ("sort=id&external_id=x", "sort"),
            ("limit=0", "limit"),
            ("display_name=", "display_name"),
            ("q=", "q"),
            ("q=a&sort=id", "sort"),
            ("q=a&display_name=a&external_id=x", "display_name"),
            ("name=a", "name"),
            ("limit=1&limit=2", "limit"),
            (f"cursor={cursor}&sort=-id", "cursor"),
            (f"cursor={cursor}&external_id=x", "cursor"),
        ]:
            with self.subTest(query):
                response = self.client.get(f"/groups?{query}")
                self.assertEqual(response.status_code, 400, response.text)
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])

    def test_a_page_is_one_select(self):
        self.client.get("/groups?limit=2")
        with recorded_commands() as commands:
            self.client.get("/groups?limit=2")

        self.assertEqual(len(commands), 1, commands)


class MemberTests(BaseTestCase):
    """/groups/<id>/members, /users/<id>/groups and /users?group=."""

    def setUp(self) -> None:
        super().setUp()
        make_users(6)
        self.ids = [user.id for user in all_users()]
        make_group("Research")

    def change(self, method: str, ids: Any) -> Any:
        """Add or remove members."""
        return self.client.open("/groups/1/members", method=method, json={"ids": ids})

    def listed(self, path: str, name: str = "users") -> list[int]:
        """Return the ids of a list, page by page."""
        ids: list[int] = []
        cursor = ""
        while True:
            data = self.client.get(f"{path}limit=2{cursor}").json["data"]
            ids += [each["id"] for each in data[name]]
            if not data["next"]:
                return ids
            cursor = f"&cursor={data['next']}"

    def test_add_and_remove(self):
        added = self.change("POST", [3, 1, 2, 5, 3])

        self.assertEqual(added.status_code, 200, added.text)
        self.assertEqual(added.json["data"]["changed"], 4)
        self.assertEqual(added.headers["ETag"], '"2"')
        group = self.client.get("/groups/1")
        self.assertEqual(added.json["data"], {**group.json["data"], "changed": 4})
        self.assertEqual(self.listed("/groups/1/members?"), [1, 2, 3, 5])
        self.assertEqual(self.listed("/users?group=1&"), [1, 2, 3, 5])
        self.assertEqual(self.listed("/users?group=1&sort=-id&"), [5, 3, 2, 1])
        removed = self.change("DELETE", [2, 4, 999, 5])
        self.assertEqual(removed.json["data"]["changed"], 2)
        self.assertEqual(removed.headers["ETag"], '"3"')
        self.assertEqual(self.listed("/groups/1/members?"), [1, 3])

    def test_what_changes_nothing_changes_no_version(self):
        self.change("POST", [1, 2])
        before = self.client.get("/groups/1")

        for response in (self.change("POST", [2, 1]), self.change("DELETE", [3, 77])):
            self.assertEqual(response.json["data"], {**before.json["data"], "changed": 0})
            self.assertEqual(response.headers["ETag"], '"2"')
        self.assertEqual(self.client.get("/groups/1").headers["ETag"], '"2"')

    def test_unknown_ids_are_named_and_nobody_is_added(self):
        for ids, named in [
            ([1, 77, 2**31 - 1], "77, 2147483647"),
            ([*range(50, 65)], "50, 51, 52, 53, 54, 55, 56, 57, 58, 59…"),
        ]:
            response = self.change("POST", ids)

            self.assertEqual(response.status_code, 400)
            message = f"These users do not exist: {named}."
            self.assertEqual(response.json["errors"], [{"field": "ids", "message": message}])
        self.assertEqual(self.listed("/groups/1/members?"), [])
        self.assertEqual(service.get_group(1).version, 1)

    def test_ids_that_are_none_are_refused(self):
        for ids in (
            [],
            None,
            1,
            "1",
            ["1"],
            [1.5],
            [True],
            [0],
            [2**31],
            [-1],
            [1] * (MAX_IDS + 1),
        ):
            for method in ("POST", "DELETE"):
                with self.subTest(f"{method} {str(ids)[:20]}"):
                    response = self.change(method, ids)
                    self.assertEqual(response.status_code, 400, response.text)
                    self.assertEqual(response.json["errors"][0]["field"], "ids")
        self.assertEqual(self.client.delete("/groups/1/members").status_code, 415)

    def test_a_thousand_at_once(self):
        make_users(MAX_IDS)
        ids = [user.id for user in all_users()][-MAX_IDS:]

        self.assertEqual(self.change("POST", ids).json["data"]["changed"], MAX_IDS)
        data = self.client.get("/groups/1/members").json["data"]
        self.assertEqual([each["id"] for each in data["users"]], ids)
        self.assertIsNone(data["next"])
        self.assertEqual(self.change("DELETE", ids).json["data"]["changed"], MAX_IDS)

    def test_groups_of_a_user(self):
        for name in ("a", "b", "c"):
            make_group(name, 1, 2)

        self.assertEqual(self.listed("/users/1/groups?", "groups"), [2, 3, 4])
        self.assertEqual(self.listed("/users/3/groups?", "groups"), [])
        shown = self.client.get("/users/1/groups?limit=1").json["data"]["groups"]
        self.assertEqual(shown, [self.client.get("/groups/2").json["data"]])

    def test_user_who_is_removed_leaves_the_group_and_raises_its_version(self):
        make_group("a", 1, 2, 3, 4)
        make_group("b", 5)
        for remove, version in [
            (lambda: self.client.delete("/users/1"), 2),
            (lambda: self.remove_together([2, 3]), 3),
        ]:
            remove()
            self.assertEqual(service.get_group(2).version, version)
        self.assertEqual(self.listed("/groups/2/members?"), [4])
        self.assertEqual(service.get_group(3).version, 1)

    def remove_together(self, ids: list[int]) -> None:
        """Remove users as the list's page does."""
        from project.api.users import service as users

        in_transaction(lambda: users.delete_together(users.lock_users(ids)))()

    def test_filter_of_users_meets_others(self):
        make_group("a", 1, 2, 3)
        email = all_users()[1].email

        self.assertEqual(self.listed(f"/users?group=2&email={email}&"), [2])
        self.assertEqual(self.listed(f"/users?group=1&email={email}&"), [])
        self.assertEqual(self.listed("/users?group=99&"), [])
        self.assertEqual(self.listed("/users?group=9999999999&"), [])
        for query, total in [("", 3), (f"&email={email}", 1)]:
            data = self.client.get(f"/users?group=2&limit=1&total=true{query}").json["data"]
            self.assertEqual(data["total"], total)
        cursor = self.client.get("/users?group=2&limit=1").json["data"]["next"]
        for query, field in [
            ("group=2&active=true", "active"),
            ("group=2&role=none", "role"),
            ("group=2&q=user", "q"),
            ("group=2&sort=email", "sort"),
            ("group=x", "group"),
            ("group=2&ids=1", "ids"),
            (f"group=1&cursor={cursor}", "cursor"),
            (f"cursor={cursor}", "cursor"),
        ]:
            with self.subTest(query):
                response = self.client.get(f"/users?{query}")
                self.assertEqual(response.status_code, 400, response.text)
                self.assertEqual([each["field"] for each in response.json["errors"]], [field])

    def test_a_page_is_one_select(self):
        make_group("a", *self.ids)
        for path in ("/groups/2/members?limit=2", "/users?group=2&limit=2", "/users/1/groups"):
            self.client.get(path)
            with recorded_commands() as commands:
                self.client.get(path)

            with self.subTest(path):
                self.assertEqual(len(commands), 1, commands)

    def test_eight_writers_at_once_lose_nothing(self):
        make_users(80)
        ids = [user.id for user in all_users()][-80:]
        make_group("a", *ids[:8])
        add: list[Request] = [
            ("POST", "/groups/2/members", {"ids": ids[8 + place :: 8]}, {}) for place in range(4)
        ]
        remove: list[Request] = [
            ("DELETE", "/groups/2/members", {"ids": [ids[place]]}, {}) for place in range(4)
        ]

        self.assertEqual(together(self.app, add + remove), [200] * 8)

        left = ids[4:8] + [each for place in range(4) for each in ids[8 + place :: 8]]
        self.assertEqual(self.listed("/groups/2/members?"), sorted(left))
        self.assertEqual(service.get_group(2).version, 9)

    def test_who_adds_and_who_removes_a_user_at_once_agree(self):
        make_group("a", 1)
        for user_id in self.ids[1:]:
            statuses = together(
                self.app,
                [
                    ("POST", "/groups/2/members", {"ids": [user_id]}, {}),
                    ("DELETE", f"/users/{user_id}", None, {}),
                ],
            )

            self.assertIn(200, statuses)
            self.assertLessEqual(set(statuses), {200, 400})
        self.assertEqual(self.listed("/groups/2/members?"), [1])


class AccessTests(AuditTestCase):
    """Who may do what, and what the trail has of it."""

    def setUp(self) -> None:
        super().setUp()
        self.tokens = {
            "admin": self.sign_in("admin", "admin"),
            "editor": self.sign_in("editor", "editor"),
            "viewer": self.sign_in("viewer", "viewer"),
            "nobody": self.sign_in("nobody"),
        }
        make_group("Research", 1, 4)
        self.app.config["ACCESS"] = "protected"

    def test_viewers_read_and_editors_write(self):
        for method, path, body, may in [
            ("GET", "/groups", None, "admin editor viewer"),
            ("GET", "/groups/1", None, "admin editor viewer"),
            ("GET", "/groups/1/members", None, "admin editor viewer"),
            ("GET", "/groups/export", None, "admin editor viewer"),
            ("GET", "/users/4/groups", None, "admin editor viewer nobody"),
            ("GET", "/users/1/groups", None, "admin editor viewer"),
            ("PATCH", "/groups/1", {}, "admin editor"),
            ("POST", "/groups/1/members", {"ids": [1]}, "admin editor"),
            ("DELETE", "/groups/1/members", {"ids": [2]}, "admin editor"),
            ("POST", "/groups", {"display_name": "Research"}, "admin editor"),
            ("DELETE", "/groups/9", None, "admin editor"),
        ]:
            for name, token in [*self.tokens.items(), ("none", None)]:
                with self.subTest(f"{name}: {method} {path}"):
                    status = self.call(method, path, token, json=body).status_code
                    if name in may.split():
                        self.assertIn(status, {200, 404, 409})
                    else:
                        self.assertEqual(status, 403)

    def test_each_change_is_recorded(self):
        token = self.tokens["editor"]
        for method, path, body, expected in [
            (
                *("POST", "/groups", {"display_name": "A", "external_id": "x"}),
                [("group.created", None, None, {"group": 2, "name": "A", "external_id": "x"})],
            ),
            (
                *("PATCH", "/groups/2", {"display_name": "B"}),
                [("group.updated", None, {"name": "A"}, {"group": 2, "name": "B"})],
            ),
            (
                *("PATCH", "/groups/2", {"external_id": None}),
                [
                    (
                        *("group.updated", None, {"external_id": "x"}),
                        {"group": 2, "name": "B", "external_id": None},
                    )
                ],
            ),
            (*("PATCH", "/groups/2", {"display_name": "B"}), []),
            (
                *("POST", "/groups/2/members", {"ids": [1, 3]}),
                [("member.added", user_id, None, {"group": 2, "name": "B"}) for user_id in (1, 3)],
            ),
            (
                *("POST", "/groups/2/members", {"ids": [3, 4]}),
                [("member.added", 4, None, {"group": 2, "name": "B"})],
            ),
            (*("POST", "/groups/2/members", {"ids": [3, 99]}), []),
            (
                *("DELETE", "/groups/2/members", {"ids": [2, 3]}),
                [("member.removed", 3, {"group": 2, "name": "B"}, None)],
            ),
            (
                *("DELETE", "/groups/2", None),
                [("group.removed", None, {"group": 2, "name": "B", "external_id": None}, None)],
            ),
        ]:
            with self.subTest(f"{method} {path} {body}"):
                events = self.recorded(self.call, method, path, token, json=body)
                found = [(each.action, each.user_id, each.before, each.after) for each in events]
                self.assertEqual(found, expected)
                self.assertEqual({each.actor for each in events}, {"user:2"} if events else set())

    def test_trail_of_a_user_has_the_memberships(self):
        self.call("POST", "/groups/1/members", self.tokens["editor"], json={"ids": [2, 3]})

        events = self.call("GET", "/audit?user=3", self.tokens["admin"]).json["data"]["events"]

        self.assertEqual(events[0]["action"], "member.added")
        self.assertEqual(events[0]["after"], {"group": 1, "name": "Research"})

    def test_very_many_members_are_one_event_with_the_first_ids(self):
        make_users(service.MOST_EVENTS + 1)
        db.session.commit()
        ids = [user.id for user in all_users()][-service.MOST_EVENTS - 1 :]

        for change, action in [
            (lambda: service.add_members(1, ids), "members.added"),
            (lambda: service.remove_members(1, ids), "members.removed"),
        ]:
            [event] = self.recorded(in_transaction(change))
            self.assertEqual((event.action, event.user_id), (action, None))
            names = {"group": 1, "name": "Research"}
            self.assertEqual(event.after, {**names, "count": len(ids), "first_ids": ids[:100]})
