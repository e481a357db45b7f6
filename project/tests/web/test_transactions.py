"""The one decorator of views that write, and its place among the others."""

import ast
from pathlib import Path
from typing import Any
from unittest import TestCase

from project.api.auth.views import authenticated, signed_in
from project.api.users import service
from project.api.users.schemas import UserCreate, UserListQuery, UserRead
from project.database import in_transaction
from project.tests.base import BaseTestCase
from project.tests.factories import all_users
from project.web.contract import (
    accepts,
    accepts_query,
    contract_of,
    returns,
    returns_message,
    returns_page,
    returns_token,
    transfers_files,
)
from project.web.guard import require
from project.web.transactions import transactional


class OrderTests(BaseTestCase):
    """A wrong order fails when the module is imported."""

    def view(self, **_kwargs: Any) -> None:
        """Do nothing."""

    def test_what_is_taken_and_given_stands_below(self):
        for decorator in [
            accepts(UserCreate),
            accepts_query(UserListQuery),
            returns(UserRead),
            returns_message(""),
            returns_page(UserRead, "users"),
            returns_token(""),
            transfers_files(body_types=("text/csv",)),
            transactional(),
        ]:
            for idempotent in [False, True]:
                view = transactional(idempotent=idempotent)(self.view)
                with self.subTest(decorator, idempotent=idempotent), self.assertRaises(TypeError):
                    decorator(view)

    def test_who_may_call_stands_above(self):
        for decorator in [require("users:write"), authenticated, signed_in]:
            for idempotent in [False, True]:
                decorate = transactional(idempotent=idempotent)
                with self.subTest(decorator), self.assertRaisesRegex(TypeError, "the order of"):
                    decorate(decorator(self.view))
                contract = contract_of(decorator(decorate(self.view)))
                self.assertTrue(
                    contract and contract.transactional and contract.sign_in is not None
                )

    def test_other_transaction_stands_neither_above_nor_below(self):
        for idempotent in [False, True]:
            decorate = transactional(idempotent=idempotent)
            with self.subTest(idempotent=idempotent):
                with self.assertRaisesRegex(TypeError, "already"):
                    in_transaction(decorate(self.view))
                with self.assertRaisesRegex(TypeError, "already"):
                    decorate(in_transaction(self.view))


class NameTests(TestCase):
    """Below the edge, what commits by itself says so in its name."""

    def test_what_opens_a_transaction_is_called_commit(self):
        api = Path(service.__file__).parents[1]
        edge = ("views.py", "pages.py", "page.py")
        found: list[str] = []
        for path in api.rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [] if path.name.endswith(edge) else self.openers(tree)

        self.assertIn("commit_sign_in", found)
        self.assertEqual([name for name in found if "commit" not in name], [])

    def openers(self, node: ast.AST, owner: str = "") -> list[str]:
        """Return the innermost function or variable of each use of in_transaction."""
        if isinstance(node, ast.FunctionDef):
            owner = node.name
        elif isinstance(node, ast.Assign):
            owner = owner or ast.unparse(node.targets[0])
        uses = [owner] if isinstance(node, ast.Name) and node.id == "in_transaction" else []
        return uses + [
            name for child in ast.iter_child_nodes(node) for name in self.openers(child, owner)
        ]


class CommitTests(BaseTestCase):
    """What a view writes is there with its answer, or not at all."""

    def add(self, idempotent: bool, message: str) -> list[Any]:
        """Return what is answered to two requests with one key, and what is there then."""

        @transactional(idempotent=idempotent)
        @returns_message(message)
        def add() -> Any:
            number = len(all_users())
            return service.create_user(f"user{number}", f"user{number}@example.com")

        self.app.add_url_rule("/auth/test", methods=["POST"], view_func=add)
        client, headers = self.app.test_client(), {"Idempotency-Key": "k"}
        answers = [client.post("/auth/test", headers=headers) for _ in range(2)]
        return [*(each.status_code for each in answers), len(all_users())]

    def test_each_request_is_committed(self):
        self.assertEqual(self.add(False, "{0.email}"), [200, 200, 2])

    def test_request_with_a_key_is_committed_once(self):
        self.assertEqual(self.add(True, "{0.email}"), [200, 200, 1])

    def test_answer_that_cannot_be_made_undoes_the_work(self):
        self.assertEqual(self.add(False, "{0.nothing}"), [500, 500, 0])

    def test_answer_that_cannot_be_made_undoes_the_key(self):
        self.assertEqual(self.add(True, "{0.nothing}"), [500, 500, 0])
