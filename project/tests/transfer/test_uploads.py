"""The files that people upload: how they are kept, and when they go."""

import os
import time
from io import BytesIO
from tempfile import TemporaryDirectory

from project.api.transfer import uploads
from project.errors import TooLarge
from project.tests.base import BaseTestCase


class UploadTests(BaseTestCase):
    """Files in a folder of the test's own."""

    def setUp(self) -> None:
        super().setUp()
        self.app.config["UPLOADS_DIR"] = self.enterContext(TemporaryDirectory())

    def save(self, age_seconds: float = 0) -> str:
        """Store a file that was last used some time ago; return its id."""
        upload_id, _size = uploads.save(BytesIO(b"abc").read, 3)
        then = time.time() - age_seconds
        os.utime(uploads._path(upload_id), (then, then))
        return upload_id

    def test_file_is_read_as_it_was_written(self):
        upload_id = self.save()

        with uploads.opened(upload_id) as file:
            self.assertEqual(file.read(), b"abc")

    def test_file_over_the_limit_leaves_nothing(self):
        with self.assertRaises(TooLarge):
            uploads.save(BytesIO(b"abcd").read, 3)

        self.assertEqual(list(uploads._folder().glob("*")), [])

    def test_files_go_after_an_hour(self):
        old, new = self.save(3601), self.save(3500)

        self.assertEqual(uploads.remove_expired(500), 1)

        self.assertEqual([uploads.exists(each) for each in (old, new)], [False, True])

    def test_file_that_is_in_use_stays(self):
        upload_id = self.save(3601)
        uploads.touch(upload_id)

        self.assertEqual(uploads.remove_expired(500), 0)

    def test_what_a_killed_process_has_left_goes(self):
        part = uploads._path(self.save(), ".part")
        part.write_bytes(b"half")
        os.utime(part, (1, 1))

        self.assertEqual(uploads.remove_expired(500), 1)

        self.assertFalse(part.exists())

    def test_failed_rows_stay_for_days(self):
        upload_id = self.save(3601)
        with uploads.open_failed(upload_id) as file:
            file.write("error\n")
        then = time.time() - 6 * 86_400
        os.utime(uploads._path(upload_id, ".failed"), (then, then))

        uploads.remove_expired(500)

        self.assertEqual(b"".join(uploads.read_failed(upload_id)), "\ufefferror\n".encode())

    def test_files_of_others_stay(self):
        path = uploads._folder() / "notes.txt"
        path.write_text("mine")
        os.utime(path, (1, 1))

        self.assertEqual(uploads.remove_expired(500), 0)

    def test_no_more_files_go_at_once_than_asked_for(self):
        for _ in range(3):
            self.save(9999)

        self.assertEqual([uploads.remove_expired(2), uploads.remove_expired(2)], [2, 1])

    def test_folder_that_is_missing_is_empty(self):
        self.app.config["UPLOADS_DIR"] += "/missing"

        self.assertEqual(uploads.remove_expired(500), 0)

    def test_name_that_is_no_id_names_no_file(self):
        for name in ["", "..", "../../etc/passwd", "A" * 32]:
            with self.subTest(name), self.assertRaises(uploads.FileGone):
                uploads.opened(name)
