"""Passwords: what one must be, and how it is kept.

A hash takes memory and a CPU, so a process computes one at a time: ``turn``.
"""

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from string import digits

import bcrypt
from argon2 import PasswordHasher, Type
from argon2.exceptions import VerificationError
from flask import current_app

from project.errors import FieldError, Invalid, Unavailable

MAX_CHARACTERS = 256
# What zxcvbn calls somewhat guessable and below: up to 10^8 guesses.
COMMON_SCORES = {0, 1, 2}
LOOKED_AT_CHARACTERS = 40
LOOKED_AT_SUBSTITUTES = 7
FEWEST_LOOKED_AT = 16
BCRYPT_BYTES = 72
# Shorter ones are in many words.
SHORTEST_NAME = 4
SERVICE_NAME = "users-service"
PHRASES = Path(__file__).with_name("common_phrases.txt")
# 1 and ! are one key.
_UNSHIFTED = str.maketrans("!@#$%^&*()", "1234567890")
# Of a worker's four threads, one is always left to those who bring no password.
WAITING = 2
WAIT_SECONDS = 5


class TooManyPasswords(Unavailable):
    """More passwords are to be hashed than this process can (503)."""

    message = "Too many passwords are being checked at the moment. Please try again."


class _Thread(threading.local):
    """Whether it is this thread's turn."""

    has_turn = False


_thread = _Thread()
_places = threading.BoundedSemaphore(1 + WAITING)
_hashing = threading.Lock()


@contextmanager
def turn() -> Iterator[None]:
    """Be the one thread of the process that may hash; wait for that a few seconds.

    Nobody may wait with a transaction under way: its locks would be held meanwhile. A thread whose
    turn it is has it within too.

    :raises TooManyPasswords: enough others wait already, or it takes too long (503).
    """
    if _thread.has_turn:
        yield
        return
    if not _places.acquire(blocking=False):
        raise TooManyPasswords
    try:
        if not _hashing.acquire(timeout=WAIT_SECONDS):
            raise TooManyPasswords
        _thread.has_turn = True
        try:
            yield
        finally:
            _thread.has_turn = False
            _hashing.release()
    finally:
        _places.release()


def check_password(password: str, *personal: str) -> None:
    """Refuse a password that somebody would guess (NIST SP 800-63B-4 section 3.1.1.2).

    Any characters will do, in any mixture.

    :param personal: the username and the email; a password must not contain them.
    :raises Invalid: it is too short, too long, common or made of personal data (400).
    """
    if len(password) > MAX_CHARACTERS:  # normalising a long one would take seconds
        raise _refusal(f"Must have at most {MAX_CHARACTERS} characters; this has {len(password)}.")
    text = _normal(password)
    folded = text.casefold()
    names = [_normal(name).casefold() for name in personal]
    names += [name.partition("@")[0] for name in names if "@" in name]
    minimum = current_app.config["PASSWORD_MIN_CHARACTERS"]
    if len(text) < minimum:
        problem = f"Must have at least {minimum} characters; this has {len(text)}."
    elif any(len(name) >= SHORTEST_NAME and name in folded for name in names):
        problem = "Must not contain the username or the email address."
    elif _letters(SERVICE_NAME) in _letters(text):
        problem = "Must not contain the name of this service."
    elif reason := _why_common(text, names) or _why_known(text, minimum):
        problem = f"Is too easily guessed. {reason}"
    else:
        return
    raise _refusal(problem)


def hash_password(password: str) -> str:
    """Return what is kept of a password: argon2id in its own format, with a salt of its own.

    :raises TooManyPasswords: it is not this thread's turn soon enough (503).
    """
    with turn():
        return _hasher().hash(_normal(password))


def verify_password(kept: str | None, password: str) -> bool:
    """Say whether a password is the one of which this hash was kept.

    :param kept: an argon2 hash, or a bcrypt hash from elsewhere (``$2b$``); None: there is none.
        A wrong password takes as long then as with a hash of our own.
    :raises TooManyPasswords: it is not this thread's turn soon enough (503).
    """
    text = _normal(password)
    with turn():
        try:
            if kept is not None and kept.startswith("$2b$"):
                # bcrypt has always looked at 72 bytes only; who made the hash need not have known.
                return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], kept.encode())
            return _hasher().verify(kept or _hash_of_nobody(), text) and kept is not None
        except (VerificationError, ValueError):
            return False


def needs_rehash(kept: str) -> bool:
    """Say whether a hash was made in another way than hashes are made now."""
    return kept.startswith("$2b$") or _hasher().check_needs_rehash(kept)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _hasher() -> PasswordHasher:
    config = current_app.config
    return _make_hasher(config["ARGON2_PASSES"], config["ARGON2_MEMORY_KIB"])


@cache
def _make_hasher(passes: int, memory: int) -> PasswordHasher:
    return PasswordHasher(passes, memory, parallelism=1, type=Type.ID)


def _hash_of_nobody() -> str:
    return _make_hash_of_nobody(_hasher())


@cache
def _make_hash_of_nobody(hasher: PasswordHasher) -> str:
    return hasher.hash("")


def _refusal(problem: str) -> Invalid:
    return Invalid(errors=[FieldError("password", problem)])


def _why_common(text: str, names: list[str]) -> str | None:
    """Return why a password is easily guessed; None: it is not."""
    from zxcvbn import zxcvbn  # its word lists take 50 ms to load, and most processes never ask

    found = zxcvbn(_part_to_look_at(text), names)
    if found["score"] not in COMMON_SCORES:
        return None
    feedback = found["feedback"]
    return str(feedback["warning"] or (feedback["suggestions"] or ["Add uncommon words."])[0])


def _part_to_look_at(text: str) -> str:
    """Return so much of a password's start that zxcvbn takes less than 0.1 s.

    Its time grows with the square of the length, times the number of ways to read the symbols that
    may stand for letters: ``1`` is i or l, ``7`` is l or t, and so on, up to hundreds of ways. So
    of a text with many different ones less is looked at. What is no common password with its start
    alone is none as a whole.
    """
    from zxcvbn.matching import L33T_TABLE

    part = text[:LOOKED_AT_CHARACTERS]
    substitutes = {symbol for symbols in L33T_TABLE.values() for symbol in symbols} & set(part)
    return part if len(substitutes) <= LOOKED_AT_SUBSTITUTES else part[:FEWEST_LOOKED_AT]


def _why_known(text: str, minimum: int) -> str | None:
    """Return why a password is well known, though zxcvbn finds it hard to guess; None: it is not.

    It tries words one by one, and knows neither what people say by heart nor longer walks over the
    keyboard. Spaces, punctuation and letter case make no difference, and digits hardly any.
    """
    letters = _letters(text)
    period = next(n for n in range(1, len(letters) + 2) if letters.startswith(letters[n:]))
    if period < minimum and 2 * period <= len(letters):
        return "It repeats a short text."
    without_digits = "".join(filter(str.isalpha, letters))
    if any(_is_phrase(each, len(text)) for each in (letters, without_digits)):
        return "It is a well-known phrase, or a walk over the keyboard."
    return None


def _is_phrase(letters: str, length: int) -> bool:
    """Say whether this, of a password so long, is made of phrases or is most of a phrase."""
    rest = letters
    for phrase in _phrases():
        rest = rest.replace(phrase, "")
    if rest != letters and len(rest.strip(digits)) < SHORTEST_NAME:
        return 2 * len(letters) >= length
    core = letters.strip(digits)
    return 2 * len(core) >= length and any(core in phrase for phrase in _phrases())


def _letters(text: str) -> str:
    """Return the letters and digits of a text, as they are compared."""
    folded = unicodedata.normalize("NFKC", text.translate(_UNSHIFTED)).casefold()
    return "".join(filter(str.isalnum, folded))


@cache
def _phrases() -> list[str]:
    """Return the well-known phrases, the longest first."""
    lines = PHRASES.read_text(encoding="utf-8").splitlines()
    return sorted(map(_letters, lines), key=len, reverse=True)
