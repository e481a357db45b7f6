"""The pages to import users: upload, preview, progress, result and undo."""

import re
from collections.abc import Mapping
from datetime import timedelta
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from sqlalchemy import update

from project import db
from project.api.audit import service as audit
from project.api.models import Import, User
from project.api.transfer import imports, jobs, running, undoing, uploads
from project.api.users import service
from project.clock import utcnow
from project.database import in_transaction
from project.errors import Invalid
from project.tests.auth.test_pages import ProtectedPageTestCase
from project.tests.base import BaseTestCase
from project.tests.factories import all_users, make_user, make_users
from project.tests.transfer.test_forms import xlsx

CSV = "username,email,active\r\nAda,ada@example.com,true\r\nBo,bo@example.com,\r\nCy,nobody,\r\n"
PAGE = {"Accept": "text/html"}


def in_words(page: str) -> str:
    """Return the text of a page, in single spaces."""
    return " ".join(re.sub("<[^>]*>", " ", page).split())


class ImportPageTestCase(BaseTestCase):
    """Uploads go to a folder of the test's own, and threads end before the answer."""

    def setUp(self) -> None:
        super().setUp()
        folder = self.enterContext(TemporaryDirectory())
        self.app.config["UPLOADS_DIR"] = folder
        self.enterContext(mock.patch.object(jobs, "WAIT_SECONDS", 60))

    def upload(self, data: str | bytes = CSV, name: str = "people.csv", **fields: str) -> Any:
        """Send the form with a file; return the answer."""
        content = data.encode() if isinstance(data, str) else data
        form = {**fields, "file": (BytesIO(content), name)}
        return self.client.post("/import", data=form, headers=PAGE)

    def uploaded(self, data: str | bytes = CSV, name: str = "people.csv") -> str:
        """Upload a file; return the path of its import."""
        response = self.upload(data, name)
        self.assertEqual(response.status_code, 303, response.text)
        return str(response.location)

    def send(
        self, path: str, do: str, entries: Mapping[str, Any] = {}, status: int = 303, **more: Any
    ) -> str:
        """Send the form of an import; return the text of the next page."""
        response = self.client.post(path, data={"do": do, **entries, **more}, headers=PAGE)
        self.assertEqual(response.status_code, status, response.text)
        text = self.client.get(response.location).text if status == 303 else response.text
        return in_words(text)

    def page(self, path: str) -> str:
        response = self.client.get(path, headers=PAGE)
        self.assertEqual(response.status_code, 200, response.text)
        return in_words(response.text)

    def emails(self) -> list[str]:
        return [row.email for row in all_users()]

    def files(self) -> int:
        return len(list(uploads._folder().glob("*")))

    def change(self, path: str, **values: Any) -> None:
        """Change the row of an import."""
        db.session.execute(update(Import).where(Import.id == path[-32:]).values(**values))
        db.session.commit()


class UploadTests(ImportPageTestCase):
    """The file on its way to the disk."""

    def test_file_waits_on_the_disk_for_its_owner_alone(self):
        path = self.uploaded()

        [file] = uploads._folder().glob("*")
        self.assertEqual(file.name, path[-32:])
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(file.read_bytes().decode(), CSV)
        self.assertEqual(self.emails(), [])

    def test_client_name_of_the_file_is_text(self):
        self.uploaded(name="C:\\Users\\me\\../<b>people.csv")

        page = self.client.get("/import").text

        self.assertIn("&lt;b&gt;people.csv", page)
        self.assertNotIn("Users\\me", page)

    def test_what_is_no_file_is_refused_and_leaves_nothing(self):
        self.app.config["MAX_UPLOAD_BYTES"] = 20
        for data, name, status, text in [
            (CSV, "a.csv", 413, "larger than"),
            ("x" * 100_000, "a.csv", 413, "larger than"),
            ("", "a.csv", 400, "The file is empty."),
            ("", "", 400, "Choose a file."),
        ]:
            with self.subTest(text=text, size=len(data)):
                response = self.upload(data, name)

                self.assertEqual(response.status_code, status)
                self.assertIn(text, response.text)
                self.assertEqual(self.files(), 0)

    def test_only_so_many_files_wait(self):
        paths = [self.uploaded() for _ in range(imports.MAX_WAITING)]

        for language, text in [("en", "10 of your files are waiting."), ("zh", "您有 10 个文件")]:
            headers = {**PAGE, "Accept-Language": language}
            form = {"file": (BytesIO(CSV.encode()), "more.csv")}
            response = self.client.post("/import", data=form, headers=headers)
            self.assertEqual(response.status_code, 409)
            self.assertIn(text, response.text)
        self.assertEqual(self.files(), imports.MAX_WAITING)
        self.send(paths[0], "discard")
        self.uploaded()
        self.send(paths[1], "start")
        self.uploaded()

    def test_files_that_were_removed_do_not_count(self):
        for _ in range(imports.MAX_WAITING):
            path = self.uploaded()
        self.change(path, created_at=utcnow() - timedelta(hours=1, seconds=1))

        self.uploaded()

    def test_of_many_at_once_only_so_many_wait(self):
        with mock.patch.object(imports, "refuse_too_many"):  # none was there before any was read
            for _ in range(imports.MAX_WAITING):
                self.uploaded()
            self.assertEqual(self.upload().status_code, 409)
        self.assertEqual(self.files(), imports.MAX_WAITING)

    def test_form_without_a_file_is_refused(self):
        response = self.client.post("/import", data={"a": "b"}, headers=PAGE)

        self.assertEqual(response.status_code, 415)

    def test_form_that_is_cut_off_leaves_nothing(self):
        start = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nabc'

        response = self.client.post(
            "/import", data=start, content_type="multipart/form-data; boundary=b", headers=PAGE
        )

        self.assertEqual(response.status_code, 400)
        self.assertEqual(self.files(), 0)

    def test_full_disk_is_told_and_leaves_nothing(self):
        def open_full(*_arguments: Any, **_options: Any) -> Any:
            return open("/dev/full", "wb")

        with mock.patch.object(uploads, "open", open_full, create=True):
            response = self.upload()

        self.assertEqual(response.status_code, 507)
        self.assertIn("no room for this file", response.text)
        self.assertEqual(self.files(), 0)
        self.assertNotIn("people.csv", self.client.get("/import").text)


class PreviewTests(ImportPageTestCase):
    """What would happen."""

    def test_preview_shows_columns_and_what_would_happen(self):
        make_user(username="B", email="bo@example.com")
        path = self.uploaded()

        page = self.page(path)

        self.assertIn("To create 1 To change 1 Unchanged 0 Would fail 1", page)
        self.assertIn("username Ada · Bo · Cy", page)
        self.assertIn("“nobody” was refused", page)
        self.assertEqual(self.emails(), ["bo@example.com"])

    def test_column_that_is_set_to_a_field_replaces_the_one_before(self):
        path = self.uploaded("Name,E-Mail,Work\nAda,ada@home.example,ada@work.example\n")
        self.assertIn("To create 1", self.page(path))

        page = self.send(path, "preview", {"column-2": "email"})
        self.send(path, "start")

        self.assertIn("To create 1", page)
        self.assertEqual(self.emails(), ["ada@work.example"])

    def test_columns_of_unknown_names_can_be_chosen(self):
        files: list[tuple[Any, str]] = [
            ("Wer;Wohin\nAda;ada@example.com\n", "a.csv"),
            (xlsx(["Wer", "Wohin"], ["Ada", "ada@example.com"]), "a.xlsx"),
        ]
        for data, name in files:
            with self.subTest(name):
                path = self.uploaded(data, name)
                page = self.page(path)
                self.assertNotIn("Start the import", page)

                page = self.send(path, "preview", {"column-0": "username", "column-1": "email"})

                self.assertIn("Start the import", page)
                self.assertIn("To create 1", page)

    def test_column_may_be_left_out(self):
        path = self.uploaded()

        self.send(path, "preview", {"column-2": ""})
        self.send(path, "start")

        self.assertEqual([row.active for row in all_users()], [False, False])

    def test_one_of_several_columns_may_be_left_out_and_taken_back(self):
        data = "First name,Last name,E-Mail\nAda,Lovelace,ada@example.com\n"
        for choices, name in [
            ([{"column-0": ""}], "Lovelace"),
            ([{"column-0": ""}, {"column-0": "username"}], "Ada Lovelace"),
        ]:
            with self.subTest(name):
                path = self.uploaded(data)
                for entries in choices:
                    self.send(path, "preview", entries)
                self.send(path, "start")

                self.assertEqual(all_users()[-1].username, name)

    def test_column_that_becomes_another_field_is_not_what_it_was(self):
        path = self.uploaded("Mail,Email\nAda,ada@example.com\n")

        self.send(path, "preview", {"column-0": "username"})
        self.send(path, "start")

        [user] = all_users()
        self.assertEqual(
            (user.username, user.email, user.active), ("Ada", "ada@example.com", False)
        )

    def test_passwords_are_not_shown(self):
        path = self.uploaded("Name,E-Mail,Password [Required]\nAda,ada@example.com,geheim\n")

        self.assertNotIn("geheim", self.client.get(path).text)

    def test_field_without_a_column_or_with_several_is_told(self):
        path = self.uploaded("Name,Mail,Email\nAda,a@example.com,b@example.com\n")
        for entries, text in [
            ({"column-0": ""}, "Name: no column is chosen"),
            ({"column-0": "active", "column-1": "active"}, "several columns are chosen"),
        ]:
            with self.subTest(text):
                self.assertIn(text, self.send(path, "preview", entries, 400))

    def test_start_with_other_choices_shows_the_preview_first(self):
        path = self.uploaded()

        page = self.send(path, "start", {"column-2": ""})

        self.assertIn("Check what will happen, then start.", page)
        self.assertEqual(self.emails(), [])

    def test_deactivations_are_told_and_guarded(self):
        make_users(3)
        db.session.execute(update(User).values(active=True))
        db.session.commit()
        path = self.uploaded("username,email\nAda,ada@example.com\n")

        page = self.send(path, "preview", deactivate_missing="y")
        self.assertIn("Nobody will be deactivated: 3 active users are not in the file", page)
        page = self.send(path, "preview", deactivate_missing="y", max_deactivate="3")
        self.assertIn("3 active users are not in the file and will be deactivated.", page)
        page = self.send(path, "start", deactivate_missing="y", max_deactivate="3")

        self.assertIn("3 users who are not in the file were deactivated.", page)
        self.assertEqual(sum(row.active for row in all_users()), 0)

    def test_wrong_number_is_told(self):
        path = self.uploaded()

        page = self.send(path, "preview", status=400, deactivate_missing="y", max_deactivate="many")

        self.assertIn("Must be a whole number.", page)

    def test_large_file_is_previewed_in_part(self):
        path = self.uploaded()
        with mock.patch.object(running, "PREVIEWED_ROWS", 2):
            page = self.page(path)

        self.assertIn("Of the first 2 rows", page)
        self.assertIn("To create 2 To change 0 Unchanged 0 Would fail 0", page)

    def test_file_that_cannot_be_read_is_told(self):
        for data in [b"%PDF-1.7", b"\xd0\xcf\x11\xe0", b"a,a\n1,2\n", b"PK\x03\x04 broken"]:
            with self.subTest(data):
                page = self.page(self.uploaded(data))

                self.assertNotIn("Start the import", page)
                self.assertIn("Discard the file", page)

    def test_discarded_file_is_gone(self):
        path = self.uploaded()

        page = self.send(path, "discard")

        self.assertIn("The file was removed.", page)
        self.assertEqual(self.files(), 0)
        self.assertEqual(self.client.get(path).status_code, 404)

    def test_file_that_is_gone_is_told(self):
        path = self.uploaded()
        uploads.remove(path[-32:])

        self.assertIn("The file is not on this server.", self.page(path))
        self.assertEqual(self.client.post(path, data={"do": "start"}).status_code, 404)

    def test_unknown_import_is_not_found(self):
        for name in ["x", "0" * 32, "..", "A" * 32]:
            with self.subTest(name):
                self.assertEqual(self.client.get(f"/import/{name}").status_code, 404)


class RunTests(ImportPageTestCase):
    """The import itself."""

    def run_import(self, data: str | bytes = CSV, name: str = "people.csv", **entries: Any) -> str:
        """Upload a file and import it; return the path."""
        path = self.uploaded(data, name)
        if entries:
            self.send(path, "preview", entries)
        self.send(path, "start", entries)
        return path

    def test_import_shows_its_result_and_removes_the_file(self):
        path = self.run_import()

        page = self.page(path)
        self.assertIn("Created 2 Changed 0 Unchanged 0 Failed 1", page)
        self.assertEqual(self.emails(), ["ada@example.com", "bo@example.com"])
        self.assertFalse(uploads.exists(path[-32:]))
        self.assertIn("2 created, 0 changed, 1 failed", self.page("/import"))

    def test_failed_rows_are_downloaded_as_they_came(self):
        path = self.run_import()

        response = self.client.get(f"{path}/failed")

        self.assertEqual(response.content_type, "text/csv; charset=utf-8")
        self.assertIn("attachment", response.headers["Content-Disposition"])
        reason = "email: “nobody” was refused. An email address must have an @-sign."
        self.assertEqual(
            response.data.decode("utf-8-sig"),
            f"error,username,email,active\r\n{reason},Cy,nobody,\r\n",
        )

    def test_failed_rows_of_objects_are_objects(self):
        path = self.run_import('{"username": "Ada", "email": "x"}\n', "a.ndjson")

        response = self.client.get(f"{path}/failed")

        self.assertEqual(response.content_type, "application/x-ndjson")
        self.assertIn('"username":"Ada"', response.text)

    def test_sheet_is_imported_and_counted_by_rows(self):
        people: list[Any] = [[f"User {n}", f"user{n}@example.com"] for n in range(20)]
        path = self.run_import(xlsx(["Name", "E-Mail"], *people), "people.xlsx")

        self.assertIn("Created 20", self.page(path))
        found = imports.get_import(path[-32:])
        self.assertEqual((found.progress, found.total), (20, 20))

    def test_reasons_are_in_the_language_of_the_person(self):
        path = self.run_import("username,email,active\nAda,nobody,\nBo,b@example.com,maybe\n")

        def translate(text: str, **values: Any) -> str:
            return f"<{text % values if values else text}>"

        with mock.patch("project.web.languages.gettext", translate):
            page = self.client.get(path).text.replace("&lt;", "<").replace("&gt;", ">")

        self.assertIn("<“nobody” was refused. <An email address must have an @-sign.>>", page)
        self.assertIn("<“maybe” was left out. <Must be yes or no, such as", page)

    def test_event_names_the_counts(self):
        self.run_import()

        [event] = audit.list_events(9)
        self.assertEqual((event.action, event.actor), ("users.imported", "anonymous"))
        self.assertEqual(event.after["created"], 2)

    def test_second_start_is_refused(self):
        path = self.run_import()

        response = self.client.post(path, data={"do": "start"}, headers=PAGE)

        self.assertEqual(response.status_code, 409)

    def test_running_import_shows_a_true_bar(self):
        path = self.uploaded()
        self.change(path, state="running", beat_at=utcnow(), progress=40, total=80)

        page = self.client.get(path)

        self.assertIn('value="50" max="100"></progress>', page.text)
        self.assertIn('<meta http-equiv="refresh"', page.text)
        self.assertEqual(page.headers["Cache-Control"], "no-store")
        self.assertEqual(self.client.post(path, data={"do": "continue"}).status_code, 409)

    def test_stopped_import_is_continued_where_it_was(self):
        path = self.uploaded()
        old = utcnow() - timedelta(seconds=imports.LEASE_SECONDS)
        report = '{"created": 1, "updated": 0, "skipped": 0, "failed": 0, "rows": []}'
        self.change(path, state="running", runner="x", beat_at=old, line=2, report=report)
        self.assertIn("The import stopped after line 2.", self.page(path))

        page = self.send(path, "continue")

        self.assertIn("Created 2 Changed 0 Unchanged 0 Failed 1", page)
        self.assertEqual(self.emails(), ["bo@example.com"])  # the row of line 2 counts as imported

    def test_thread_that_has_lost_its_lease_saves_nothing(self):
        path = self.uploaded()
        real = imports.Changes.add

        def add(changes: Any, written: Any) -> None:
            real(changes, written)
            self.steal(path)

        with mock.patch.object(imports.Changes, "add", add):
            self.send(path, "start")

        self.assertEqual(self.emails(), [])

    def steal(self, path: str) -> None:
        """Give an import to another thread, as if that had happened before."""
        table: Any = Import.__table__
        db.session.execute(update(table).where(table.c.id == path[-32:]).values(runner="another"))

    def test_error_is_told(self):
        path = self.uploaded()
        broken = mock.patch.object(imports.Changes, "add", side_effect=ZeroDivisionError)
        with broken, mock.patch.object(jobs, "log"):
            page = self.send(path, "start")

        self.assertIn("Something went wrong on our side.", page)
        self.assertIn("Nothing was imported.", page)
        self.assertEqual(self.emails(), [])

    def test_data_that_ends_badly_is_told_with_the_line(self):
        data = '[{"username": "Ada", "email": "ada@example.com"}, {"username"'
        path = self.uploaded(data, "a.json")

        page = self.send(path, "continue")

        self.assertIn("The JSON is incomplete or corrupt", page)
        self.assertIn("Nothing was imported.", page)

    def test_problem_of_the_data_is_in_the_language_of_the_person(self):
        path = self.uploaded(
            '[{"username": "Ada", "email": "ada@example.com"}, {"username"', "a.json"
        )
        chinese = {**PAGE, "Accept-Language": "zh"}
        for text in (self.client.get(path, headers=chinese).text, self.send(path, "continue")):
            self.assertIn("JSON", text)

        page = in_words(self.client.get(path, headers=chinese).text)

        self.assertIn("JSON 在 1 位用户之后不完整或已损坏。", page)
        self.assertNotIn("incomplete", page)

    def test_long_problem_is_cut(self):
        error = Invalid("x" * 5000)
        with mock.patch.object(imports.Changes, "add", side_effect=error):
            page = self.send(self.uploaded(), "start")

        self.assertRegex(page, "x{500}")

    def test_process_runs_only_so_many(self):
        for _ in range(jobs.MAX_THREADS):
            jobs._threads.acquire()
            self.addCleanup(jobs._threads.release)
        path = self.uploaded()

        response = self.client.post(path, data={"do": "start"}, headers=PAGE)

        self.assertEqual(response.status_code, 409)
        self.assertIn("Other imports are running", response.text)


class UndoTests(ImportPageTestCase):
    """An import is undone."""

    def run_import(self, data: str | bytes, **entries: Any) -> str:
        """Upload a file and import it; return the path."""
        path = self.uploaded(data)
        if entries:
            self.send(path, "preview", entries)
        self.send(path, "start", entries)
        return path

    def undo(self, path: str) -> str:
        """Undo an import; return the text of the next page."""
        response = self.client.post(f"{path}/undo", headers=PAGE)
        self.assertEqual(response.status_code, 303, response.text)
        return self.page(response.location)

    def states(self) -> dict[int, Any]:
        """Return what an undo brings back, by id."""
        return {
            row.id: (row.username, row.email, row.active, row.role, row.password_hash)
            for row in all_users()
        }

    def test_new_users_go_and_changed_ones_get_their_fields_back(self):
        user = make_user(username="B", email="bo@example.com", active=True)
        before = self.states()
        path = self.run_import(
            "username,email,active\nBo,BO@example.com,false\nAda,ada@example.com,true\n"
        )
        self.assertEqual(self.states()[user.id][:3], ("Bo", "BO@example.com", False))
        asked = self.page(f"{path}/undo")

        page = self.undo(path)

        self.assertIn("1 user whom it has created will be removed.", asked)
        self.assertIn("1 user whom it has changed will get the former fields back.", asked)
        self.assertIn("1 user was removed. 1 user got the former fields back.", page)
        self.assertEqual(self.states(), before)
        self.assertEqual(len(service.search_users("B", 9, None, {}, ("id",))), 1)
        event = audit.list_events(1)[0]
        self.assertEqual(event.action, "import.undone")
        self.assertEqual(event.after, {"removed": 1, "restored": 1})

    def test_users_who_were_changed_since_stay_and_are_told(self):
        make_user(username="B", email="bo@example.com")
        path = self.run_import("username,email\nBo,bo@example.com\nAda,ada@example.com\n")
        for row in all_users():
            in_transaction(service.update_user)(row.id, {"active": True})

        page = self.undo(path)

        self.assertIn("0 users were removed. 0 users got the former fields back.", page)
        self.assertIn("Bo : was changed since", page)
        self.assertIn("Ada : was changed since", page)
        self.assertEqual([row.username for row in all_users()], ["Bo", "Ada"])

    def test_users_who_are_removed_already_need_nothing(self):
        path = self.run_import("username,email\nAda,ada@example.com\n")
        in_transaction(service.delete_user)(1)

        self.assertIn("0 users were removed", self.undo(path))

    def test_administrators_stay(self):
        path = self.run_import("username,email\nAda,ada@example.com\n")
        db.session.execute(update(User).values(role="admin"))
        db.session.commit()

        page = self.undo(path)

        self.assertIn("Ada : is an administrator", page)
        self.assertEqual(len(all_users()), 1)

    def test_address_that_another_has_taken_over_by_the_import_comes_back(self):
        one, two = (make_user(email=f"{name}@example.com") for name in ("one", "two"))
        before = self.states()
        rows = f"{one.id},x,three@example.com\n{two.id},y,one@example.com\n"
        path = self.run_import(f"id,username,email\n{rows}", match="id")
        self.assertEqual(self.states()[two.id][1], "one@example.com")

        self.undo(path)

        self.assertEqual(self.states(), before)

    def test_user_whose_former_address_is_taken_stays(self):
        user = make_user(email="one@example.com")
        path = self.run_import(f"id,username,email\n{user.id},x,two@example.com\n", match="id")
        make_user(email="ONE@example.com")

        self.assertIn("x : another user has the former address", self.undo(path))

    def test_user_in_several_batches_gets_the_first_fields_back(self):
        make_user(username="first", email="bo@example.com")
        before = self.states()
        with mock.patch("project.api.transfer.importing.ROWS_PER_BATCH", 1):
            path = self.run_import("username,email\nsecond,bo@example.com\nthird,BO@example.com\n")
        self.assertEqual(self.states()[1][:2], ("third", "BO@example.com"))

        self.undo(path)

        self.assertEqual(self.states(), before)

    def test_deactivated_users_are_active_again(self):
        user = make_user(active=True)
        path = self.run_import(
            "username,email\nAda,ada@example.com\n", deactivate_missing="y", max_deactivate="1"
        )
        self.assertFalse(self.states()[user.id][2])

        self.undo(path)

        self.assertTrue(self.states()[user.id][2])

    def test_undo_goes_batch_by_batch(self):
        rows = "".join(f"u{n},u{n}@example.com\n" for n in range(7))
        path = self.run_import(f"username,email\n{rows}")
        with mock.patch("project.api.transfer.undoing._NEXT", undoing._NEXT.limit(2)):
            page = self.undo(path)

        self.assertIn("7 users were removed", page)
        self.assertEqual(self.states(), {})

    def test_second_undo_is_refused(self):
        path = self.run_import(CSV)
        self.undo(path)

        self.assertEqual(self.client.post(f"{path}/undo", headers=PAGE).status_code, 409)


class ProtectedTests(ProtectedPageTestCase):
    """Who may do what, with tokens in the forms."""

    def setUp(self) -> None:
        super().setUp()
        self.app.config["UPLOADS_DIR"] = self.enterContext(TemporaryDirectory())
        self.enterContext(mock.patch.object(jobs, "WAIT_SECONDS", 60))
        self.set_role("admin")
        self.sign_in(csrf_token=self.token_of("/sign-in"))

    def upload(self, data: str, **fields: str) -> Any:
        form = {**fields, "file": (BytesIO(data.encode()), "people.csv")}
        return self.client.post("/import", data=form, headers=PAGE)

    def post(self, path: str, **entries: str) -> Any:
        token = self.token_of(path)
        return self.client.post(path, data={"csrf_token": token, **entries}, headers=PAGE)

    def test_file_without_token_is_not_stored(self):
        token = self.token_of("/import")
        for fields in [{}, {"csrf_token": ""}, {"csrf_token": f"{token}x"}]:
            with self.subTest(fields):
                response = self.upload(CSV, **fields)

                self.assertEqual(response.status_code, 400)
                self.assertIn("The form has expired.", response.text)
                self.assertEqual(list(uploads._folder().glob("*")), [])
        self.assertEqual(self.upload(CSV, csrf_token=token).status_code, 303)

    def test_upload_after_the_sign_in_has_ended_leads_back_to_the_form(self):
        token = self.token_of("/import")
        in_transaction(service.update_user)(1, {"active": False})
        in_transaction(service.update_user)(1, {"active": True})

        response = self.upload(CSV, csrf_token=token)

        self.assertEqual((response.status_code, response.location), (303, "/sign-in?next=/import"))
        self.assertEqual(list(uploads._folder().glob("*")), [])
        token = self.token_of(response.location)
        self.assertEqual(self.sign_in(csrf_token=token, next="/import").location, "/import")
        self.assertEqual(self.client.get("/import", headers=PAGE).status_code, 200)

    def test_other_forms_without_token_do_nothing(self):
        path = self.upload(CSV, csrf_token=self.token_of("/import")).location
        for each in [path, f"{path}/undo"]:
            self.assertEqual(self.client.post(each, data={"do": "start"}).status_code, 303)

        self.assertEqual(imports.get_import(path[-32:]).state, "waiting")

    def test_editors_import_no_roles_and_administrators_do(self):
        data = "username,email,role\nBo,bo@example.com,viewer\n"
        for role, given in [("editor", None), ("admin", "viewer")]:
            with self.subTest(role):
                self.set_role(role)
                path = self.upload(data, csrf_token=self.token_of("/import")).location
                self.assertEqual('value="role"' in self.client.get(path).text, given is not None)

                self.post(path, do="start")

                self.assertEqual(all_users()[-1].role, given)

    def test_undo_of_roles_needs_an_administrator(self):
        make_user(username="Bo", email="bo@example.com")
        data = "username,email,role\nBo,bo@example.com,viewer\n"
        path = self.upload(data, csrf_token=self.token_of("/import")).location
        self.post(path, do="start")
        self.set_role("editor")

        self.client.post(
            f"{path}/undo", data={"csrf_token": self.token_of(f"{path}/undo")}, headers=PAGE
        )

        self.assertIn("only an administrator may give", self.client.get(path).text)
        self.assertEqual(all_users()[-1].role, "viewer")

    def test_files_of_others_do_not_count(self):
        for _ in range(imports.MAX_WAITING):
            path = self.upload(CSV, csrf_token=self.token_of("/import")).location
        waiting = update(Import).values(user_id=99)
        db.session.execute(waiting)
        db.session.commit()

        self.assertEqual(self.upload(CSV, csrf_token=self.token_of("/import")).status_code, 303)
        self.assertEqual(self.client.get(path, headers=PAGE).status_code, 200)

    def test_right_that_is_lost_half_way_stops_the_import(self):
        self.set_role("editor")
        rows = "".join(f"u{n},u{n}@example.com\n" for n in range(4))
        path = self.upload(f"username,email\n{rows}", csrf_token=self.token_of("/import")).location
        real = imports.Changes.add

        def add(changes: Any, written: Any) -> None:
            real(changes, written)
            db.session.execute(update(User).where(User.id == 1).values(role=None))

        with (
            mock.patch("project.api.transfer.importing.ROWS_PER_BATCH", 2),
            mock.patch.object(imports.Changes, "add", add),
        ):
            self.post(path, do="start")
        self.set_role("editor")
        page = in_words(self.client.get(path, headers=PAGE).text)

        self.assertIn("You have signed out meanwhile, or may no longer change users.", page)
        self.assertIn("The import stopped after line 3.", page)
        self.assertEqual([row.username for row in all_users()][-2:], ["u0", "u1"])

    def test_editors_do_not_see_the_files_of_others(self):
        other = make_user(username="Eve", email="eve@example.com")
        path = self.upload(CSV, csrf_token=self.token_of("/import")).location
        db.session.execute(update(Import).values(user_id=other.id))
        db.session.commit()
        self.assertEqual(self.client.get(path).status_code, 200)
        self.set_role("editor")

        for each in [path, f"{path}/failed", f"{path}/undo"]:
            self.assertEqual(self.client.get(each, headers=PAGE).status_code, 403)
        page = self.client.get("/import").text

        self.assertIn("Eve", page)
        self.assertNotIn(f'href="{path}"', page)

    def test_password_hashes_are_not_shown(self):
        data = "username,email,password_hash\nBo,bo@example.com,$2b$12$secret\n"
        path = self.upload(data, csrf_token=self.token_of("/import")).location

        page = self.client.get(path).text

        self.assertIn("•••", page)
        self.assertNotIn("secret", page)

    def test_event_names_the_person(self):
        path = self.upload(CSV, csrf_token=self.token_of("/import")).location

        self.post(path, do="start")

        event = next(each for each in audit.list_events(9) if each.action == "users.imported")
        self.assertEqual((event.actor, event.address), ("user:1", "127.0.0.1"))
        self.assertIn("Ada", self.client.get("/import").text)
