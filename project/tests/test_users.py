"""The first version's tests: their names and meaning stay, whatever changes below them."""

from project import db
from project.api.models import User
from project.tests.base import BaseTestCase


def add_user(username: str, email: str) -> User:
    """Add a user straight to the database."""
    user = User(username=username, email=email)
    db.session.add(user)
    db.session.commit()
    return user


class TestUserService(BaseTestCase):
    """The service as its first clients know it."""

    def test_users(self):
        response = self.client.get("/ping")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json, {"status": "success", "message": "pong!"})

    def test_add_user(self):
        response = self.client.post(
            "/users", json={"username": "cnych", "email": "qikqiak@gmail.com"}
        )

        self.assertEqual(response.status_code, 201)
        self.assertIn("qikqiak@gmail.com was added!", response.json["message"])
        self.assertIn("success", response.json["status"])

    def test_add_user_invalid_json(self):
        response = self.client.post("/users", json={})

        self.assertEqual(response.status_code, 400)
        self.assertEqual("Invalid payload.", response.json["message"])
        self.assertEqual("fail", response.json["status"])

    def test_add_user_invalid_json_keys(self):
        response = self.client.post("/users", json={"email": "qikqiak@gmail.com"})

        self.assertEqual(response.status_code, 400)
        self.assertEqual("Invalid payload.", response.json["message"])
        self.assertEqual("fail", response.json["status"])

    def test_add_user_duplicate_user(self):
        user = {"username": "cnych", "email": "qikqiak@gmail.com"}
        self.client.post("/users", json=user)

        response = self.client.post("/users", json=user)

        self.assertEqual(response.status_code, 400)
        self.assertEqual("Sorry. That email already exists.", response.json["message"])
        self.assertEqual("fail", response.json["status"])

    def test_get_user(self):
        user = add_user("cnych", "qikqiak@gmail.com")

        response = self.client.get(f"/users/{user.id}")

        self.assertEqual(response.status_code, 200)
        self.assertIn("created_at", response.json["data"])
        self.assertEqual("cnych", response.json["data"]["username"])
        self.assertEqual("qikqiak@gmail.com", response.json["data"]["email"])
        self.assertEqual("success", response.json["status"])

    def test_get_user_no_id(self):
        response = self.client.get("/users/xxx")

        self.assertEqual(response.status_code, 400)
        self.assertEqual("Param id error", response.json["message"])
        self.assertEqual("fail", response.json["status"])

    def test_get_user_incorrect_id(self):
        response = self.client.get("/users/-1")

        self.assertEqual(response.status_code, 404)
        self.assertEqual("User does not exist", response.json["message"])
        self.assertEqual("fail", response.json["status"])

    def test_all_users(self):
        add_user("cnych", "qikqiak@gmail.com")
        add_user("chyang", "icnych@gmail.com")

        response = self.client.get("/users")

        self.assertEqual(response.status_code, 200)
        users = response.json["data"]["users"]
        self.assertEqual(2, len(users))
        self.assertIn("created_at", users[0])
        self.assertIn("created_at", users[1])
        self.assertEqual("cnych", users[0]["username"])
        self.assertEqual("qikqiak@gmail.com", users[0]["email"])
        self.assertEqual("chyang", users[1]["username"])
        self.assertEqual("icnych@gmail.com", users[1]["email"])
        self.assertEqual("success", response.json["status"])

    def test_main_no_users(self):
        response = self.client.get("/")

        self.assertEqual(response.status_code, 200)
        self.assertIn(b"No users!", response.data)

    def test_main_with_users(self):
        add_user("cnych", "qikqiak@gmail.com")
        add_user("chyang", "icnych@gmail.com")

        response = self.client.get("/")

        self.assertEqual(response.status_code, 200)
        self.assertIn(b"All Users", response.data)
        self.assertNotIn(b"No users!", response.data)
        self.assertIn(b"cnych", response.data)
        self.assertIn(b"chyang", response.data)

    def test_main_add_user(self):
        response = self.client.post(
            "/",
            data={"username": "cnych", "email": "qikqiak@gmail.com"},
            follow_redirects=True,
        )

        self.assertEqual(response.status_code, 200)
        self.assertIn(b"All Users", response.data)
        self.assertNotIn(b"No users!", response.data)
        self.assertIn(b"cnych", response.data)
