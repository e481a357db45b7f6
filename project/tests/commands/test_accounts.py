"""The commands about accounts, as a person or a script calls them."""

import io
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from project.api.audit.service import list_events
from project.api.auth import principals
from project.api.auth import service as auth
from project.api.users import service
from project.commands import accounts
from project.database import in_transaction
from project.tests.commands.base import CommandTestCase
from project.tests.factories import all_users, make_user

PASSWORD = "grey otters paddle home at dusk"
EMAIL = "ada@example.com"


class AccountCommandTests(CommandTestCase):
    """create_admin, set_password and create_key."""

    def password_file(self, text: str = PASSWORD + "\n") -> str:
        """Return the name of a file with a password."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = Path(folder, "password")
        path.write_text(text)
        return str(path)

    def test_administrator_is_added_and_can_sign_in(self):
        with mock.patch("sys.stdin", io.StringIO(PASSWORD + "\n")):
            printed = self.printed(accounts.create_admin, "Ada", EMAIL, True, None)

        self.assertEqual(printed, f"{EMAIL} was added as an administrator.\n")
        made = auth.commit_sign_in(EMAIL, PASSWORD)
        who = principals.by_session(made.session)
        self.assertEqual(who and who.role, "admin")

    def test_errors_are_printed_and_nothing_is_added(self):
        make_user(email="taken@example.com")
        good, short = self.password_file(), self.password_file("short")
        for arguments, reason in [
            (("", EMAIL, False, good), "username: Must not be blank."),
            (("Ada", "ada", False, good), "email: An email address must have an @-sign."),
            (("Ada", EMAIL, False, short), "password: Must have at least 15 characters"),
            (("Ada", "Taken@example.com", False, good), "Sorry. That email already exists."),
            (("Ada", EMAIL, False, "/nowhere"), "The password cannot be read: "),
            (
                ("Ada", EMAIL, True, good),
                "Use either --password-stdin or --password-file, not both.",
            ),
        ]:
            with self.subTest(reason), self.assertRaises(SystemExit) as caught:
                accounts.create_admin(*arguments)
            self.assertTrue(str(caught.exception).startswith(reason), caught.exception)
        self.assertEqual(service.count_users(), 1)

    def test_person_is_asked_twice(self):
        with mock.patch("sys.stdin.isatty", return_value=True):
            with mock.patch.object(accounts, "getpass", side_effect=[PASSWORD, "x"]):
                with self.assertRaises(SystemExit):
                    accounts.create_admin("Ada", EMAIL, False, None)
            self.assertEqual(service.count_users(), 0)

            with mock.patch.object(accounts, "getpass", return_value=PASSWORD):
                self.printed(accounts.create_admin, "Ada", EMAIL, False, None)
        self.assertEqual(service.count_users(), 1)

    def test_password_is_set_and_sign_ins_end(self):
        in_transaction(auth.register)("Ada", EMAIL, "another fine and long one")
        session = auth.commit_sign_in(EMAIL, "another fine and long one").session

        self.printed(accounts.set_password, "ADA@example.com", False, self.password_file())

        self.assertIsNone(principals.by_session(session))
        auth.commit_sign_in(EMAIL, PASSWORD)

    def test_byte_order_mark_is_not_part_of_a_password(self):
        make_user(email=EMAIL, active=True)
        marked = f"\ufeff{PASSWORD}\r\n"

        self.printed(accounts.set_password, EMAIL, False, self.password_file(marked))

        auth.commit_sign_in(EMAIL, PASSWORD)
        with mock.patch("sys.stdin", io.StringIO(marked)):
            self.printed(accounts.set_password, EMAIL, True, None)
        auth.commit_sign_in(EMAIL, PASSWORD)

    def test_password_of_an_inactive_user_is_set_with_a_hint(self):
        user_id = make_user(email=EMAIL).id

        printed = self.printed(accounts.set_password, EMAIL, False, self.password_file())

        self.assertEqual(
            printed,
            f"The password of {EMAIL} was changed.\n"
            "The user cannot sign in yet, because the account is not active. To activate it, an"
            f' administrator sends {{"active": true}} with PATCH /users/{user_id}, or checks'
            ' "Active" on the edit page.\n',
        )
        in_transaction(service.update_user)(user_id, {"active": True})
        auth.commit_sign_in(EMAIL, PASSWORD)
        again = self.printed(accounts.set_password, EMAIL, False, self.password_file())
        self.assertEqual(again, f"The password of {EMAIL} was changed.\n")

    def test_unknown_user_gets_no_password_and_no_key(self):
        for call in [
            lambda: accounts.set_password(EMAIL, False, self.password_file()),
            lambda: accounts.create_key("no address", "robot", ["users:read"], None),
        ]:
            with self.assertRaises(SystemExit):
                call()

    def test_key_is_printed_and_valid(self):
        make_user(email=EMAIL, role="viewer", active=True)

        key = self.printed(accounts.create_key, EMAIL, "robot", ["users:read"], 7).strip()

        self.assertEqual(principals.by_key(key).scopes, {"users:read"})
        with self.assertRaises(SystemExit) as caught:
            accounts.create_key(EMAIL, "robot", ["admin"], None)
        self.assertIn("only have scopes that you have", str(caught.exception))

    def test_command_line_takes_no_password(self):
        command = ["create_admin", "--username", "Ada", "--email", EMAIL]

        asked = self.manage(*command, stdin=None, input="")
        added = self.manage(*command, "--password-stdin", stdin=None, input=PASSWORD)

        self.assertEqual(asked.returncode, 1)
        self.assertIn("--password-stdin or --password-file FILE", asked.stderr)
        self.assertEqual(added.returncode, 0, added.stderr)
        self.assertEqual(service.count_users(), 1)


class ServiceAccountTests(CommandTestCase):
    """create_key --service, and what list_keys says of keys that expire."""

    def test_account_and_key_are_made_together(self):
        key = self.printed(accounts.create_service_key, "okta", None, [], None).strip()

        [user] = all_users()
        self.assertEqual((user.username, user.email), ("okta", "okta@service.invalid"))
        self.assertEqual((user.active, user.password_hash, user.role), (True, None, "editor"))
        self.assertLessEqual({"users:read", "users:write"}, principals.by_key(key).scopes)
        self.assertNotIn("admin", principals.by_key(key).scopes)
        [made] = auth.list_keys()
        self.assertEqual((made.name, made.expires_at), ("okta", None))
        events = list_events(9, actor="command:create_key")
        self.assertEqual([each.action for each in events], ["key.created", "user.created"])

    def test_role_is_the_least_that_has_the_scopes(self):
        for scopes, role in [
            (["users:read"], "viewer"),
            (["users:read", "users:write"], "editor"),
            (["users:read", "admin"], "admin"),
        ]:
            with self.subTest(scopes):
                key = self.printed(accounts.create_service_key, role, "a key", scopes, 7).strip()

                self.assertEqual(principals.by_key(key).role, role)
                self.assertEqual(principals.by_key(key).scopes, set(scopes))
        self.assertEqual({key.name for key in auth.list_keys()}, {"a key"})

    def test_email_may_be_given_and_is_taken_once(self):
        self.printed(accounts.create_service_key, "Robot@Example.com", None, [], None)

        [user] = all_users()
        self.assertEqual((user.username, user.email), ("Robot", "Robot@Example.com"))
        with self.assertRaisesRegex(SystemExit, "robot@example.com .* Without --service"):
            accounts.create_service_key("robot@example.com", None, [], None)
        with self.assertRaisesRegex(SystemExit, "email: "):
            accounts.create_service_key("no name", None, [], None)
        self.assertEqual((len(all_users()), len(auth.list_keys())), (1, 1))

    def test_command_line_needs_name_and_scope_of_keys_of_people_only(self):
        make_user(email=EMAIL, role="viewer", active=True)
        for access in ("open", "protected"):
            settings = {"ACCESS": access, "TEST_LOG_LEVEL": "CRITICAL"}
            made = self.manage("create_key", f"okta-{access}", "--service", environment=settings)

            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertEqual(principals.by_key(made.stdout.strip()).role, "editor")
            self.assertIn(f"okta-{access}@service.invalid", made.stderr)
        for arguments in [(), ("--name", "x"), ("--scope", "users:read")]:
            refused = self.manage("create_key", EMAIL, *arguments)

            self.assertEqual(refused.returncode, 1)
            self.assertIn("--name and --scope", refused.stderr)

    def test_keys_that_expire_soon_are_named(self):
        make_user(email=EMAIL, role="viewer", active=True)
        for name, days in [("now", 1), ("soon", 14), ("later", 15), ("never", None)]:
            self.printed(accounts.create_key, EMAIL, name, ["users:read"], days)
        with redirect_stdout(io.StringIO()) as lines, redirect_stderr(io.StringIO()) as warnings:
            accounts.list_keys(None)

        self.assertEqual(len(lines.getvalue().splitlines()), 5)
        self.assertRegex(
            warnings.getvalue(),
            r"\A1 \(now\) expires in 1 days?\.\n2 \(soon\) expires in 14 days?\.\n\Z",
        )
