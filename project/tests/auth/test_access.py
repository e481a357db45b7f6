"""Access control while access is protected: a row for each route, a column for each caller.

A route without a row fails, and so does a row without a route.
"""

from datetime import timedelta
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask

from project import create_app, db
from project.api.auth import service as auth
from project.api.models import APIKey, Group, Import, ImportChange, Session, User
from project.api.transfer import imports, uploads
from project.api.users import service
from project.api.users.passwords import hash_password
from project.clock import utcnow
from project.tests.auth.test_views import PASSWORD
from project.tests.base import BaseTestCase, Protected
from project.tests.factories import make_group, make_user
from project.web.guard import SCOPES_OF_ROLE, Principal

COLUMNS = "nobody ordinary viewer editor admin read_key write_key expired_key revoked inactive"
PERSON = {"username": "New", "email": "new@example.com"}
LOGIN = {"email": "viewer@example.com", "password": PASSWORD}

# The status that each caller gets, in the order of COLUMNS. TARGET is the id of another, ordinary
# user, and OWN the caller's. Pages are called with a session cookie, so keys do not count there.
OPEN = "200 200 200 200 200 200 200 200 200 200"
READ = "403 403 200 200 200 200 403 401 401 401"
WRITE = "403 403 403 200 200 403 200 401 401 401"
# The keys have scopes for users only.
GROUPS_READ = "403 403 200 200 200 403 403 401 401 401"
GROUPS_WRITE = "403 403 403 200 200 403 403 401 401 401"
SCIM_READ = READ.replace("403", "401", 1)
SCIM_WRITE = WRITE.replace("403", "401", 1)
SCIM_GROUPS_READ = GROUPS_READ.replace("403", "401", 1)
SCIM_GROUPS_WRITE = GROUPS_WRITE.replace("403", "401", 1)
SCIM_KNOWN = "401 200 200 200 200 200 200 401 401 401"
OWN_READ = "403 200 200 200 200 200 403 401 401 401"
# The keys belong to an administrator, whom only callers with the scope ``admin`` may change.
OWN_WRITE = "403 200 200 200 200 403 403 401 401 401"
ADMIN = "403 403 403 403 200 403 403 401 401 401"
SIGNED_IN = "403 200 200 200 200 403 403 401 401 401"
ANY_BEARER = "403 200 200 200 200 200 200 401 401 401"
READ_PAGE = "303 403 200 200 200 303 303 303 303 303"
WRITE_PAGE = "303 403 403 200 200 303 303 303 303 303"
ADMIN_PAGE = "303 403 403 403 200 303 303 303 303 303"
OWN_PAGE = "303 200 200 200 200 303 303 303 303 303"
MOVED = OPEN.replace("200", "308")
UPLOAD = {"file": "people.csv"}  # a file with this name
REDIRECT = "303 303 303 303 303 303 303 303 303 303"

ROWS: dict[str, tuple[str, Any]] = {
    "GET /openapi.json": (OPEN, None),
    "GET /docs": (OPEN, None),
    "GET /ping": (OPEN, None),
    "GET /health/live": (OPEN, None),
    "GET /health/ready": (OPEN.replace("200", "503"), None),  # the tests' schema has no revision
    "GET /metrics": (OPEN, None),
    "GET /audit": (ADMIN, None),
    "GET /users": (READ, None),
    "POST /users": (WRITE.replace("200", "201"), PERSON),
    "GET /users/export": (READ, None),
    "POST /users/import": (WRITE, PERSON),
    "GET /users/TARGET": (READ, None),
    "GET /users/OWN": (OWN_READ, None),
    "PATCH /users/TARGET": (WRITE, {"username": "x"}),
    "PATCH /users/OWN": (OWN_WRITE, {"username": "x"}),
    "PUT /users/TARGET": (WRITE, PERSON),
    "PUT /users/OWN": (OWN_WRITE, {**PERSON, "current_password": PASSWORD}),
    "DELETE /users/TARGET": (WRITE, None),
    "GET /groups": (GROUPS_READ, None),
    "POST /groups": (GROUPS_WRITE.replace("200", "201"), {"display_name": "New"}),
    "GET /groups/export": (GROUPS_READ, None),
    "GET /groups/GROUP": (GROUPS_READ, None),
    "PATCH /groups/GROUP": (GROUPS_WRITE, {"display_name": "x"}),
    "DELETE /groups/GROUP": (GROUPS_WRITE, None),
    "GET /groups/GROUP/members": (GROUPS_READ, None),
    "POST /groups/GROUP/members": (GROUPS_WRITE.replace("200", "400"), {"ids": [0]}),
    "DELETE /groups/GROUP/members": (GROUPS_WRITE, {"ids": [1]}),
    "GET /users/TARGET/groups": (GROUPS_READ, None),
    "GET /users/OWN/groups": ("403 200 200 200 200 403 403 401 401 401", None),
    "POST /auth/register": (OPEN.replace("200", "201"), {**PERSON, "password": PASSWORD}),
    "POST /auth/login": (OPEN, LOGIN),
    "GET /auth/logout": (SIGNED_IN, None),
    "POST /auth/logout": (SIGNED_IN, None),
    "GET /auth/status": (ANY_BEARER, None),
    "POST /auth/password": (
        SIGNED_IN,
        {"current_password": PASSWORD, "password": "another fine and long one"},
    ),
    "GET /auth/keys": (SIGNED_IN, None),
    "POST /auth/keys": (
        "403 403 201 201 201 403 403 401 401 401",
        {"name": "robot", "scopes": ["users:read"]},
    ),
    "PATCH /auth/keys/KEY": (SIGNED_IN, {"suspended": False}),
    "DELETE /auth/keys/KEY": (SIGNED_IN, None),
    "GET /": (READ_PAGE, None),
    "POST /": (WRITE_PAGE.replace("200", "303"), PERSON),
    "GET /edit/TARGET": (MOVED, None),
    "POST /edit/TARGET": (MOVED, {**PERSON, "version": "1"}),
    "GET /user/TARGET": (READ_PAGE, None),
    "GET /user/OWN": ("303 303 200 200 200 303 303 303 303 303", None),
    "POST /user/TARGET": (WRITE_PAGE.replace("200", "303"), {**PERSON, "version": "1"}),
    "POST /user/TARGET/sessions": (ADMIN_PAGE.replace("200", "303"), {"session_id": ""}),
    "GET /remove/TARGET": (WRITE_PAGE, None),
    "POST /remove/TARGET": (WRITE_PAGE.replace("200", "303"), {"version": "1"}),
    "GET /bulk": (WRITE_PAGE.replace("200", "303"), None),
    "POST /bulk": (WRITE_PAGE.replace("200", "303"), {"action": "activate", "ids": "1"}),
    "GET /bulk/export": (READ_PAGE.replace("200", "303"), None),
    "GET /import": (WRITE_PAGE, None),
    "POST /import": (WRITE_PAGE.replace("200", "303"), UPLOAD),
    "GET /import/IMPORT": (WRITE_PAGE, None),
    "POST /import/IMPORT": (WRITE_PAGE.replace("200", "303"), {"do": "preview"}),
    "GET /import/IMPORT/failed": (WRITE_PAGE, None),
    "GET /import/IMPORT/undo": (WRITE_PAGE, None),
    "POST /import/IMPORT/undo": (WRITE_PAGE.replace("200", "303"), {}),
    "GET /group": (READ_PAGE, None),
    "POST /group": (WRITE_PAGE.replace("200", "303"), {"display_name": "New"}),
    "GET /group/download": (READ_PAGE, None),
    "GET /group/GROUP": (READ_PAGE, None),
    "POST /group/GROUP": (
        WRITE_PAGE.replace("200", "303"),
        {"display_name": "x", "version": "1"},
    ),
    "POST /group/GROUP/members": (
        WRITE_PAGE.replace("200", "303"),
        {"person": "target@example.com"},
    ),
    "POST /group/GROUP/members/remove": (WRITE_PAGE.replace("200", "303"), {"user_id": "0"}),
    "GET /group/GROUP/remove": (WRITE_PAGE, None),
    "POST /group/GROUP/remove": (WRITE_PAGE.replace("200", "303"), {"version": "1"}),
    "GET /sign-in": (OPEN, None),
    "POST /sign-in": (REDIRECT, LOGIN),
    "POST /sign-out": (REDIRECT, {}),
    "POST /preferences": (REDIRECT, {}),
    "GET /export": (READ_PAGE, None),
    "GET /export/download": (READ_PAGE, None),
    "GET /activity": (ADMIN_PAGE, None),
    "GET /activity/download": (ADMIN_PAGE, None),
    "GET /provisioning": (ADMIN_PAGE, None),
    "POST /provisioning": (ADMIN_PAGE.replace("200", "303"), {"key_id": "KEY"}),
    "GET /account": (OWN_PAGE, None),
    "POST /account": (REDIRECT, {**PERSON, "version": "1", "current_password": PASSWORD}),
    "POST /account/password": (
        OWN_PAGE.replace("200", "303"),
        {"current_password": PASSWORD, "password": "another fine and long one"},
    ),
    "POST /account/sessions": (REDIRECT, {"session_id": ""}),
    "POST /account/keys": (
        "303 400 201 201 201 303 303 303 303 303",
        {"name": "robot", "scopes": "users:read", "expires_in_days": "30"},
    ),
    "GET /revoke/KEY": (OWN_PAGE, None),
    "POST /revoke/KEY": (REDIRECT, {}),
    "POST /resume/KEY": (REDIRECT, {}),
    "GET /invite": (ADMIN_PAGE, None),
    "POST /invite": (ADMIN_PAGE, PERSON),
    "POST /user/TARGET/link": (ADMIN_PAGE, {}),
    "GET /welcome": (OPEN.replace("200", "410"), None),
    "POST /welcome": (OPEN.replace("200", "410"), {"password": PASSWORD}),
    "GET /forgot": (OPEN.replace("200", "404"), None),  # the tests' settings have no SMTP_URL
    "POST /forgot": (OPEN.replace("200", "404"), {"email": PERSON["email"]}),
    "GET /register": (OPEN, None),
    "POST /register": (REDIRECT, {**PERSON, "password": PASSWORD}),
    "GET /setup": (REDIRECT, None),
    "POST /setup": (REDIRECT, {**PERSON, "password": PASSWORD, "code": "x"}),
}
PATCH = {"Operations": [{"op": "replace", "path": "title", "value": "x"}]}
SCIM_PERSON = {"userName": PERSON["email"]}
SCIM_GROUP = {"displayName": "Design"}
SCIM_ROWS: dict[str, tuple[str, Any]] = {
    "GET /Users": (SCIM_READ, None),
    "POST /Users": (SCIM_WRITE.replace("200", "201"), SCIM_PERSON),
    "GET /Users/TARGET": (SCIM_READ, None),
    "PUT /Users/TARGET": (SCIM_WRITE, SCIM_PERSON),
    "PATCH /Users/TARGET": (SCIM_WRITE, PATCH),
    "DELETE /Users/TARGET": (SCIM_WRITE.replace("200", "204"), None),
    "GET /Groups": (SCIM_GROUPS_READ, None),
    "POST /Groups": (SCIM_GROUPS_WRITE.replace("200", "201"), SCIM_GROUP),
    "GET /Groups/GROUP": (SCIM_GROUPS_READ, None),
    "PUT /Groups/GROUP": (SCIM_GROUPS_WRITE, SCIM_GROUP),
    "PATCH /Groups/GROUP": (SCIM_GROUPS_WRITE, PATCH),
    "DELETE /Groups/GROUP": (SCIM_GROUPS_WRITE.replace("200", "204"), None),
    "GET /ServiceProviderConfig": (SCIM_KNOWN, None),
    "GET /ResourceTypes": (SCIM_KNOWN, None),
    "GET /ResourceTypes/<name>": (SCIM_KNOWN.replace("200", "404"), None),
    "GET /Schemas": (SCIM_KNOWN, None),
    "GET /Schemas/<urn>": (SCIM_KNOWN.replace("200", "404"), None),
}
for row, answers in SCIM_ROWS.items():
    for prefix in ("/scim/v2", "/scim/v2/"):
        ROWS[row.replace(" ", f" {prefix}")] = answers
PAGES = {
    "",
    "bulk",
    "edit",
    "remove",
    "user",
    "invite",
    "welcome",
    "forgot",
    "register",
    "setup",
    "sign-in",
    "sign-out",
    "account",
    "revoke",
    "resume",
    "preferences",
    "import",
    "export",
    "activity",
    "provisioning",
    "group",
}


class AccessTests(BaseTestCase):
    """Every route, called by every kind of caller."""

    def create_app(self) -> Flask:
        return create_app(Protected)

    def test_every_route_has_a_row(self):
        routes = {
            f"{method} {rule.rule}"
            for rule in self.app.url_map.iter_rules()
            for method in rule.methods or ()
            if method not in {"HEAD", "OPTIONS"}
            and "/static/" not in rule.rule
            and "refuse " not in rule.endpoint  # 405 for every caller
        }
        names = {"TARGET": "<user_id>", "OWN": "<user_id>", "KEY": "<key_id>"}
        names |= {"IMPORT": "<import_id>", "GROUP": "<group_id>"}
        rows = set()
        for row in ROWS:
            for name, parameter in names.items():
                row = row.replace(name, parameter)
            rows.add(row)

        self.assertEqual(rows, routes)

    def test_every_caller_gets_what_the_table_says(self):
        self.app.config["UPLOADS_DIR"] = self.enterContext(TemporaryDirectory())
        self.password_hash = hash_password(PASSWORD)
        for row, (statuses, body) in ROWS.items():
            for caller, status in zip(COLUMNS.split(), statuses.split(), strict=True):
                with self.subTest(row, caller=caller):
                    response = self.call(row, caller, body)

                    self.assertEqual(str(response.status_code), status, response.text)

    def call(self, row: str, caller: str, body: Any) -> Any:
        """Call a route as one of the callers, on users of their own."""
        self.empty()
        method, path = row.split()
        target = make_user(email="target@example.com").id
        make_user(email="second@example.com", active=True, role="admin", password_hash="x")
        self.make_account(username="v", email=LOGIN["email"], role="viewer")
        own, headers, session = self.credentials(caller)
        key_id = self.key_of(own).id
        path = path.replace("TARGET", str(target)).replace("OWN", str(own))
        path = path.replace("KEY", str(key_id))
        path = path.replace("GROUP", str(make_group("Research").id))
        if "IMPORT" in path:
            path = path.replace("IMPORT", self.import_of(path))
        if body == UPLOAD:
            body = {"file": (BytesIO(b"username,email"), UPLOAD["file"])}
        if body == {"key_id": "KEY"}:
            body = {"key_id": str(key_id)}
        client = self.app.test_client()
        if path.split("/")[1] in PAGES:
            if session:
                with client.session_transaction() as cookie:
                    cookie["sign_in"] = session
            options: dict[str, Any] = {"data": body, "headers": {"Accept": "text/html"}}
        else:
            options = {"json": body, "headers": headers}
        return client.open(path, method=method, **options)

    def make_account(self, **values: Any) -> User:
        """Add a user who can sign in; the password is hashed only once for all."""
        return make_user(
            active=True, password_hash=self.password_hash, password_version=1, **values
        )

    def credentials(self, caller: str) -> tuple[int, dict[str, str], str | None]:
        """Return a new user's id, the header to send, and the session for a cookie."""
        role = {"ordinary": None, "nobody": None, "read_key": "admin", "write_key": "admin"}
        user = self.make_account(
            username="Me",
            email="me@example.com",
            role=role.get(caller, caller if caller in SCOPES_OF_ROLE else "admin"),
        )
        made = auth._sign_in(user, 0)
        token = made.token
        session: str | None = made.session
        if caller.endswith("_key"):
            scopes = ["users:write"] if caller == "write_key" else ["users:read"]
            session = None
            who = Principal(user.id, "", "admin", SCOPES_OF_ROLE["admin"])
            key = auth.create_key(who, "robot", scopes, None)
            token = key.key
            if caller == "expired_key":
                found = db.session.query(APIKey).filter_by(id=key.id)
                found.update({"expires_at": utcnow() - timedelta(seconds=1)})
        if caller == "revoked":
            auth.log_out(made.session)
        if caller == "inactive":
            service.update_user(user.id, {"active": False})
        db.session.commit()
        if caller == "nobody":
            return user.id, {}, None
        return user.id, {"Authorization": f"Bearer {token}"}, session

    def key_of(self, user_id: int) -> APIKey:
        """Add a key for the user, for the routes of a key."""
        key = APIKey(
            user_id=user_id,
            name="x",
            prefix="x",
            key_hash="x",
            scopes=["admin"],
            created_at=utcnow(),
        )
        db.session.add(key)
        db.session.commit()
        return key

    def import_of(self, path: str) -> str:
        """Add an import, for the routes of one: undone if it has ended, else with its file."""
        import_id, _size = uploads.save(BytesIO(b"username,email\nx,x@example.com\n").read, 99)
        imports.commit_import(import_id, "people.csv", 30)
        uploads.open_failed(import_id).close()
        if path.endswith("/undo"):
            db.session.query(Import).update({"state": "done"})
            db.session.commit()
        return import_id

    def empty(self) -> None:
        """Remove all users, with their sessions and keys."""
        db.session.remove()
        for table in (Session, APIKey, ImportChange, Import, Group, User):
            db.session.query(table).delete()
        db.session.commit()
