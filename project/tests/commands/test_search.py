"""The command for the words by which users are found."""

from unittest import mock

from sqlalchemy import text

from project import db
from project.api.users import word_index
from project.commands import search
from project.tests.commands.base import CommandTestCase
from project.tests.factories import make_user, make_users


class ReindexTests(CommandTestCase):
    """reindex."""

    def found(self, q: str) -> list[str]:
        """Return the names of the users that a search finds."""
        users = self.client.get(f"/users?q={q}").json["data"]["users"]
        return [user["username"] for user in users]

    def test_words_that_do_not_match_are_mended_in_batches(self):
        make_users(25)
        ada, bob = make_user(username="Ada B"), make_user(username="Bob")
        for statement in (
            f"DELETE FROM user_words WHERE user_id = {ada.id}",
            f"INSERT INTO user_words VALUES ('wrong', {bob.id})",
            "DELETE FROM user_words WHERE user_id = 1",
            "UPDATE users SET username = 'Past', username_folded = 'past' WHERE id = 2",
        ):
            db.session.execute(text(statement))
        db.session.commit()
        self.assertEqual((self.found("ada"), self.found("wrong")), ([], ["Bob"]))

        with mock.patch.object(word_index, "_PAGE", word_index._PAGE.limit(10)):
            printed = self.printed(search.reindex)

        self.assertEqual(printed, "Users checked: 27. Mended: 4.\n")
        self.assertEqual((self.found("ada"), self.found("wrong")), (["Ada B"], []))
        self.assertEqual(self.found("pa"), ["Past"])
        self.assertEqual(self.printed(search.reindex), "Users checked: 27. Mended: 0.\n")

    def test_command_prints_a_summary(self):
        make_users(3)

        result = self.manage("reindex")

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, "Users checked: 3. Mended: 0.\n")
        self.assertEqual(result.stderr, "")
