"""Passwords: their rules and their hashes.

Hashing takes memory and a CPU, so each process computes one hash at a time: ``hashing_slot``.
"""

import hashlib
import hmac
import re
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from string import digits

import bcrypt
from argon2 import PasswordHasher, Type
from argon2.exceptions import VerificationError
from flask import current_app

from project.api.users.models import PASSWORD_HASH_LENGTH
from project.errors import FieldError, Invalid, Message, Unavailable

MAX_CHARACTERS = 256
# zxcvbn's "somewhat guessable" and below: up to 10^8 guesses.
COMMON_SCORES = {0, 1, 2}
CHECKED_CHARACTERS = 40
CHECKED_SUBSTITUTES = 7
MIN_CHECKED_CHARACTERS = 16
BCRYPT_BYTES = 72
BCRYPT = ("$2a$", "$2b$", "$2y$")
PBKDF2 = "pbkdf2_sha256$"  # as Django writes it
# Hashes from elsewhere, and the highest cost of each: about a second, and 128 MiB.
_FOREIGN_HASHES = [
    (r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}", {"cost": (4, 14)}),
    (
        r"\$argon2id\$v=19\$m=(?P<memory>\d{1,9}),t=(?P<passes>\d{1,9}),p=(?P<lanes>\d{1,9})"
        r"\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{11,}",
        {"memory": (8, 131_072), "passes": (1, 10), "lanes": (1, 8)},
    ),
    (
        r"pbkdf2_sha256\$(?P<iterations>\d{1,9})\$[!-#%-~]+\$[A-Za-z0-9+/]{43}=",
        {"iterations": (1, 2_000_000)},
    ),
]
# Shorter names occur in many words.
SHORTEST_NAME = 4
SERVICE_NAME = "users-service"
PHRASES = Path(__file__).with_name("common_phrases.txt")
# 1 and ! are on one key.
_UNSHIFTED = str.maketrans("!@#$%^&*()", "1234567890")
# One of a worker's four threads always remains for requests without a password.
WAITING = 2
WAIT_SECONDS = 5


class TooManyPasswords(Unavailable):
    """Too many requests wait for a password hash in this process (503)."""

    message = "Too many passwords are being checked at the moment. Please try again."


_state = threading.local()
_places = threading.BoundedSemaphore(1 + WAITING)
_hashing = threading.Lock()


@contextmanager
def hashing_slot() -> Iterator[None]:
    """Hold the process's one slot for hashing; wait for it up to 5 s. It is reentrant.

    Never wait within a transaction: its locks would be held meanwhile.

    :raises TooManyPasswords: too many others are waiting, or the wait is too long (503).
    """
    if getattr(_state, "has_slot", False):
        yield
        return
    if not _places.acquire(blocking=False):
        raise TooManyPasswords
    try:
        if not _hashing.acquire(timeout=WAIT_SECONDS):
            raise TooManyPasswords
        _state.has_slot = True
        try:
            yield
        finally:
            _state.has_slot = False
            _hashing.release()
    finally:
        _places.release()


def check_password(password: str, *personal: str) -> None:
    """Refuse a password that is easy to guess (NIST SP 800-63B-4 section 3.1.1.2).

    There are no rules about which characters it must contain.

    :param personal: the username and the email; the password must not contain them.
    :raises Invalid: it is too short, too long, common or contains personal data (400).
    """
    if len(password) > MAX_CHARACTERS:  # normalising a very long one would take seconds
        raise _refusal(
            Message(
                "Must have at most %(limit)s characters; this has %(length)s.",
                limit=MAX_CHARACTERS,
                length=len(password),
            )
        )
    text = _normal(password)
    folded = text.casefold()
    names = [_normal(name).casefold() for name in personal]
    names += [name.partition("@")[0] for name in names if "@" in name]
    minimum = current_app.config["PASSWORD_MIN_CHARACTERS"]
    if len(text) < minimum:
        problem: str = Message(
            "Must have at least %(minimum)s characters; this has %(length)s.",
            minimum=minimum,
            length=len(text),
        )
    elif any(len(name) >= SHORTEST_NAME and name in folded for name in names):
        problem = Message("Must not contain the username or the email address.")
    elif _letters(SERVICE_NAME) in _letters(text):
        problem = Message("Must not contain the name of this service.")
    elif reason := _why_common(text, names) or _why_known(text, minimum):
        problem = Message("Is too easy to guess. %(reason)s", reason=Message(reason))
    else:
        return
    raise _refusal(problem)


def hash_password(password: str) -> str:
    """Return the hash of a password: argon2id in its standard format, with a random salt.

    :raises TooManyPasswords: the wait for the hashing slot is too long (503).
    """
    with hashing_slot():
        return _hasher().hash(_normal(password))


def verify_password(stored: str | None, password: str) -> bool:
    """Return whether a password matches a stored hash.

    :param stored: an argon2 hash, or another from elsewhere (``check_hash``); None: there is none,
        and the check takes as long as with an argon2 hash.
    :raises TooManyPasswords: the wait for the hashing slot is too long (503).
    """
    text = _normal(password)
    with hashing_slot():
        try:
            if stored is not None and stored.startswith(BCRYPT):
                # bcrypt uses the first 72 bytes; older versions truncated longer ones silently.
                return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], stored.encode())
            if stored is not None and stored.startswith(PBKDF2):
                return _is_pbkdf2(password, stored)
            hasher = _hasher()
            return hasher.verify(stored or _dummy_hash(hasher), text) and stored is not None
        except (VerificationError, ValueError):
            return False


def needs_rehash(stored: str) -> bool:
    """Return whether a hash has another algorithm or other parameters than new hashes."""
    return stored.startswith((*BCRYPT, PBKDF2)) or _hasher().check_needs_rehash(stored)


def check_hash(text: str) -> str:
    """Return a hash that another system made, if sign-ins can verify it within about a second.

    :raises ValueError: it is none; the message is a sentence.
    """
    for pattern, limits in _FOREIGN_HASHES:
        found = re.fullmatch(pattern, text)
        if found is None or len(text) > PASSWORD_HASH_LENGTH:
            continue
        for name, (lowest, highest) in limits.items():
            if not lowest <= int(found[name]) <= highest:
                raise ValueError(
                    Message(
                        "Its %(name)s must be %(lowest)s to %(highest)s.",
                        name=name,
                        lowest=f"{lowest:,}",
                        highest=f"{highest:,}",
                    )
                )
        return text
    raise ValueError(Message("Must be a hash by bcrypt, argon2id or Django's pbkdf2_sha256."))


def _is_pbkdf2(password: str, stored: str) -> bool:
    _kind, rounds, salt, expected = stored.split("$")
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), int(rounds))
    return hmac.compare_digest(b64encode(digest).decode(), expected)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _hasher() -> PasswordHasher:
    config = current_app.config
    return _make_hasher(config["ARGON2_PASSES"], config["ARGON2_MEMORY_KIB"])


@cache
def _make_hasher(passes: int, memory: int) -> PasswordHasher:
    return PasswordHasher(passes, memory, parallelism=1, type=Type.ID)


@cache
def _dummy_hash(hasher: PasswordHasher) -> str:
    return hasher.hash("")


def _refusal(problem: str) -> Invalid:
    return Invalid(errors=[FieldError("password", problem)])


def _why_common(text: str, names: list[str]) -> str | None:
    """Return why a password is easy to guess; None: it is not."""
    from zxcvbn import zxcvbn  # its word lists take 50 ms to load, and few processes need them

    found = zxcvbn(_part_to_check(text), names)
    if found["score"] not in COMMON_SCORES:
        return None
    feedback = found["feedback"]
    return str(
        feedback["warning"] or (feedback["suggestions"] or [Message("Add uncommon words.")])[0]
    )


def _part_to_check(text: str) -> str:
    """Return as much of a password's start as zxcvbn can check in less than 0.1 s.

    Its time grows with the square of the length, times the number of ways to read symbols as
    letters (``1`` as i or l, ``7`` as l or t): up to hundreds. So less is checked of a text with
    many different symbols. If the start is not common, the whole password is not either.
    """
    from zxcvbn.matching import L33T_TABLE

    part = text[:CHECKED_CHARACTERS]
    substitutes = {symbol for symbols in L33T_TABLE.values() for symbol in symbols} & set(part)
    return part if len(substitutes) <= CHECKED_SUBSTITUTES else part[:MIN_CHECKED_CHARACTERS]


def _why_known(text: str, minimum: int) -> str | None:
    """Return why a password is well known, although zxcvbn rates it as strong; None: it is not.

    zxcvbn tries single words; it knows neither common phrases nor long keyboard patterns. Here
    spaces, punctuation and letter case do not matter, and digits hardly do.
    """
    letters = _letters(text)
    period = next(n for n in range(1, len(letters) + 2) if letters.startswith(letters[n:]))
    if period < minimum and 2 * period <= len(letters):
        return Message("It repeats a short text.")
    without_digits = "".join(filter(str.isalpha, letters))
    if any(_is_phrase(each, len(text)) for each in (letters, without_digits)):
        return Message("It is a well-known phrase or a keyboard pattern.")
    return None


def _is_phrase(letters: str, length: int) -> bool:
    """Return whether the letters of a password of this length are phrases or most of a phrase."""
    rest = letters
    for phrase in _phrases():
        rest = rest.replace(phrase, "")
    if rest != letters and len(rest.strip(digits)) < SHORTEST_NAME:
        return 2 * len(letters) >= length
    core = letters.strip(digits)
    return 2 * len(core) >= length and any(core in phrase for phrase in _phrases())


def _letters(text: str) -> str:
    """Return the letters and digits of a text, folded for comparison."""
    folded = unicodedata.normalize("NFKC", text.translate(_UNSHIFTED)).casefold()
    return "".join(filter(str.isalnum, folded))


@cache
def _phrases() -> list[str]:
    """Return the well-known phrases, the longest first."""
    lines = PHRASES.read_text(encoding="utf-8").splitlines()
    return sorted(map(_letters, lines), key=len, reverse=True)
