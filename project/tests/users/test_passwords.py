"""The rules for passwords, and how they are stored."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from threading import Barrier, Thread
from typing import Any
from unittest import mock

import bcrypt
from argon2 import PasswordHasher
from zxcvbn import matching

from project.api.users import passwords
from project.api.users.passwords import (
    WAITING,
    TooManyPasswords,
    check_hash,
    check_password,
    hash_password,
    hashing_slot,
    needs_rehash,
    verify_password,
)
from project.errors import Invalid
from project.tests.base import BaseTestCase

GOOD = "grey otters paddle home at dusk"


def django_hash(password: str) -> str:
    """Return the hash that Django would store."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 10)
    return f"pbkdf2_sha256$10$salt${b64encode(digest).decode()}"


class CheckPasswordTests(BaseTestCase):
    """NIST SP 800-63B-4: long and not guessed, whatever characters it has."""

    def reason(self, password: str, *personal: str) -> str:
        """Return why a password is refused; nothing when it is taken."""
        try:
            check_password(password, *personal)
        except Invalid as error:
            self.assertEqual([each.field for each in error.errors], ["password"])
            return error.errors[0].message
        return ""

    def test_password_without_any_mixture_is_taken(self):
        for password in [
            GOOD,
            "плохая погода не помеха",
            "🦊🐙🦉🐝🦎🐌🦋🐢🦔🦚🐧🦜🐬🦩🐿",
            "x7#" * 4 + GOOD * 7,
        ]:
            with self.subTest(password):
                self.assertEqual(self.reason(password), "")

    def test_password_is_refused_with_the_reason(self):
        for password, reason in [
            ("", "Must have at least 15 characters; this has 0."),
            ("x7#mQ9!vB2$kL5", "Must have at least 15 characters; this has 14."),
            ("x" * 257, "Must have at most 256 characters; this has 257."),
            ("passwordpassword", "Is too easy to guess. "),
            ("123456789012345", "Is too easy to guess. This is similar to a commonly used"),
            ("a" * 256, "Is too easy to guess. Repeats"),
            ("my name is AdaLovelace!", "Must not contain the username or the email address."),
            ("ada.l@example.com ok?", "Must not contain the username or the email address."),
            ("that is ADA.L for you", "Must not contain the username or the email address."),
        ]:
            with self.subTest(password):
                found = self.reason(password, "adalovelace", "Ada.L@example.com")
                self.assertTrue(found.startswith(reason), found)

    def test_well_known_phrase_is_refused(self):
        for password in [
            "correct horse battery staple",
            "CorrectHorseBatteryStaple!",
            "correct-horse_battery.staple 2026!",
            "correct1horse2battery3staple4",
            "correct horse battery staple abc",
            "Correct battery horse staple.",
            "To be, or not to be: that is the question",
            "tobeornottobe123",
            "The quick brown fox jumps over the lazy dog.",
            "the quick brown fox 99",
            "Mary had a little lamb",
            "mary had a little lamb, its fleece was white",
            "hello world hello world",
            "My password is password!",
            "this is my password 123",
            "ｃｏｒｒｅｃｔ horse battery staple",
        ]:
            with self.subTest(password):
                self.assertIn("Is too easy to guess.", self.reason(password))

    def test_walk_over_the_keyboard_is_refused(self):
        for password in [
            "qwertyuiopasdfghjklzxcvbnm",
            "qweasdzxcrtyfgh",
            "qawsedrftgyhujik",
            "!QAZ2wsx#EDC4rfv",
            "yhnujmikolp12345",
            "1qaz@WSX3edc$RFV",
            "azertyuiopqsdfgh",
        ]:
            with self.subTest(password):
                self.assertIn("Is too easy to guess.", self.reason(password))

    def test_repeat_is_as_good_as_what_it_repeats(self):
        for password in [
            "docker-docker-docker",
            "example.com example.com",
            "grey otter grey otter",
        ]:
            with self.subTest(password):
                self.assertIn("Is too easy to guess.", self.reason(password))

        self.assertEqual(self.reason(f"{GOOD}. {GOOD}."), "")

    def test_name_of_the_service_is_refused(self):
        for password in [
            "users-service users-service",
            "users-service2026!",
            "my Users Service password",
            "the usersservice at work",
        ]:
            with self.subTest(password):
                reason = self.reason(password)
                self.assertIn("Must not contain the name of this service.", reason)

    def test_phrase_with_as_much_of_ones_own_is_taken(self):
        for password in [
            f"hello world {GOOD}",
            "thequick83691927035164827903",
            "a83691927035164827903",
            "to be a quiet lamp under seven bridges",
        ]:
            with self.subTest(password):
                self.assertEqual(self.reason(password), "")

    def test_length_counts_characters_in_normal_form(self):
        self.assertIn("this has 14.", self.reason("e\u0301" * 14))

    def test_overlong_password_is_not_normalised(self):
        with mock.patch("unicodedata.normalize") as normalize:
            self.assertIn("this has 500001.", self.reason("a" + "\u0315" * 500_000))

        normalize.assert_not_called()

    def test_looking_for_common_passwords_is_little_work_whatever_is_sent(self):
        symbols = "4@8({[<369!1|0$5+7%2"
        match = matching.dictionary_match
        for password in [
            symbols * 12,
            symbols[::-1] * 12,
            "1|7+!<(" * 36,
            "1|7+!<(" + "a" * 200,
            "a" * 33 + symbols * 11,
            "p@$$w0rd1!" * 25,
            "a" * 256,
            "abcdefghijklmnopqrstuvwxyz" * 9,
        ]:
            with (
                self.subTest(password[:40]),
                mock.patch.object(matching, "dictionary_match", side_effect=match) as lookups,
            ):
                self.reason(password, "Ada", "ada@example.com")

                pieces = sum(len(call.args[0]) ** 2 for call in lookups.call_args_list)
                self.assertLess(pieces, 100_000)

    def test_common_password_is_found_among_symbols(self):
        for password in ["p@$$w0rdp@$$w0rd", "12345678901234567890123", "!@#$%^&*()_+!@#$%^"]:
            with self.subTest(password):
                self.assertIn("Is too easy to guess.", self.reason(password))

    def test_password_of_many_symbols_is_taken(self):
        for password in [
            "4@8({[<369!1|0$5+7%2",
            "71903|$8264}[x5+@!q{93%_(1<7",
            "83691927035164827903",
        ]:
            with self.subTest(password):
                self.assertEqual(self.reason(password), "")

    def test_short_names_are_in_many_words(self):
        self.assertEqual(self.reason(GOOD, "Al", "o@x.example"), "")


class HashTests(BaseTestCase):
    """The stored hash of a password."""

    def test_hash_is_argon2id_with_a_salt_of_its_own(self):
        first, second = hash_password(GOOD), hash_password(GOOD)

        self.assertTrue(first.startswith("$argon2id$v=19$m=8,t=1,p=1$"))
        self.assertNotEqual(first, second)
        self.assertTrue(verify_password(first, GOOD))
        self.assertFalse(verify_password(first, GOOD + "."))
        self.assertFalse(needs_rehash(first))

    def test_password_is_the_same_however_it_is_typed(self):
        stored = hash_password("man\u0303ana por la man\u0303ana")

        self.assertTrue(verify_password(stored, "ma\u00f1ana por la ma\u00f1ana"))

    def test_nobody_has_no_password(self):
        for password in ["", GOOD]:
            self.assertFalse(verify_password(None, password))

    def test_hash_of_another_service_is_verified_and_to_be_replaced(self):
        long = "é" * 50  # 100 bytes, of which bcrypt sees 72
        for password in [GOOD, long]:
            stored = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
            with self.subTest(password):
                self.assertTrue(verify_password(stored, password))
                self.assertFalse(verify_password(stored, "x" + password))
                self.assertTrue(needs_rehash(stored))

    def test_hash_of_django_is_verified_and_to_be_replaced(self):
        stored = django_hash(GOOD)

        self.assertTrue(verify_password(stored, GOOD))
        self.assertFalse(verify_password(stored, "x" + GOOD))
        self.assertTrue(needs_rehash(stored))

    def test_hash_from_elsewhere_is_accepted_if_it_can_be_verified_in_a_second(self):
        digest = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(4)).decode()
        argon2 = PasswordHasher(2, 1024, parallelism=2).hash(GOOD)
        for stored in [
            digest,
            digest.replace("$2b$", "$2a$"),
            digest.replace("$2b$", "$2y$"),
            argon2,
            django_hash(GOOD),
        ]:
            with self.subTest(stored):
                self.assertEqual(check_hash(stored), stored)
                self.assertTrue(verify_password(stored, GOOD))
        for stored in [
            "",
            GOOD,
            f"{digest}x",
            digest.replace("$04$", "$15$"),
            digest.replace("$2b$", "$2x$"),
            argon2.replace("m=1024", "m=9999999"),
            argon2.replace("t=2", "t=2000000"),
            argon2.replace("p=2", "p=64"),
            argon2.replace("argon2id", "argon2i"),
            argon2.replace("t=2", "t=0"),
            django_hash(GOOD).replace("$10$", "$9000000$"),
            django_hash(GOOD).replace("sha256", "sha1"),
            f"{django_hash(GOOD)}{'x' * 300}",
        ]:
            with self.subTest(stored), self.assertRaises(ValueError):
                check_hash(stored)

    def test_hash_with_other_parameters_is_to_be_replaced(self):
        stored = hash_password(GOOD)
        self.app.config["ARGON2_PASSES"] = 2

        self.assertTrue(verify_password(stored, GOOD))
        self.assertTrue(needs_rehash(stored))

    def test_what_is_no_hash_fits_no_password(self):
        for stored in ["", "x", "$argon2id$", "$2b$", "pbkdf2_sha256$x", "pbkdf2_sha256$1$a$b"]:
            with self.subTest(stored):
                self.assertFalse(verify_password(stored, GOOD))


class TurnTests(BaseTestCase):
    """One hash at a time in a process."""

    def at_once(self, count: int, work: Callable[[], Any]) -> list[Any]:
        """Return what so many threads get."""
        results, barrier = [], Barrier(count)

        def run() -> None:
            with self.app.app_context():
                barrier.wait()
                results.append(work())

        threads = [Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def test_others_wait_while_one_hashes(self):
        for name in ["hash", "verify"]:
            hashing, most = [0], [0]
            original = getattr(PasswordHasher, name)

            def counted(
                *arguments: Any, hashing: Any = hashing, most: Any = most, original: Any = original
            ) -> Any:
                hashing[0] += 1
                most[0] = max(most[0], hashing[0])
                try:
                    return original(*arguments)
                finally:
                    hashing[0] -= 1

            work: Any = partial(verify_password, hash_password(GOOD), GOOD)
            if name == "hash":
                work = partial(hash_password, GOOD)
            self.app.config["ARGON2_MEMORY_KIB"] = 1024  # long enough to meet
            with self.subTest(name), mock.patch.object(PasswordHasher, name, counted):
                results = self.at_once(1 + WAITING, work)

                self.assertTrue(all(map(bool, results)) and len(results) == 1 + WAITING)
                self.assertEqual(most, [1])

    def test_no_more_wait_than_leave_a_thread_to_others(self):
        barrier = Barrier(2)

        def hold() -> None:
            with hashing_slot():
                barrier.wait()
                barrier.wait()

        holder = Thread(target=hold)
        holder.start()
        barrier.wait()
        with ExitStack() as waiting:
            for _ in range(WAITING):
                passwords._places.acquire()
                waiting.callback(passwords._places.release)

            self.assertRaises(TooManyPasswords, hash_password, GOOD)

        with mock.patch.object(passwords, "WAIT_SECONDS", 0):
            self.assertRaises(TooManyPasswords, verify_password, None, GOOD)
        barrier.wait()
        holder.join()
        self.assertTrue(verify_password(hash_password(GOOD), GOOD))

    def test_turn_within_a_turn_is_the_same(self):
        with mock.patch.object(passwords, "WAIT_SECONDS", 0), hashing_slot():
            self.assertTrue(verify_password(hash_password(GOOD), GOOD))
        with hashing_slot():
            pass

    def test_place_is_free_again_after_a_failure(self):
        for _ in range(2 + WAITING):
            with self.assertRaises(KeyError), hashing_slot():
                raise KeyError

        self.assertTrue(hash_password(GOOD))
