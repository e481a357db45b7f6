"""Checks email addresses, and folds names and addresses for comparison."""

import re
import sys
import unicodedata
from typing import TypeGuard

import email_validator

from project.api.users.email_words import in_words

# Some directories use internal domains such as `.local` and `.test`.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_SIMPLE_EMAIL = re.compile(
    r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*"
    r"@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+[A-Za-z]{2,}"
)


def check_email(email: str) -> None:
    """Check the syntax of an address, without DNS (RFC 5321, RFC 6531).

    Most addresses are simple and pass a fast check.

    :raises ValueError: it is not an address; the message is a sentence that says why.
    """
    if not is_simple_email(email):
        try:
            email_validator.validate_email(email, check_deliverability=False)
        except email_validator.EmailNotValidError as error:
            raise ValueError(in_words(str(error))) from error


def is_simple_email(text: object) -> TypeGuard[str]:
    """Return whether an address is valid at first sight; any other must be checked in detail.

    It is ASCII, too short for a label to be too long, and has no two consecutive hyphens in the
    domain, which are reserved for A-labels.
    """
    return isinstance(text, str) and len(text) <= 64 and bool(_SIMPLE_EMAIL.fullmatch(text))


def fold_email(email: str) -> str:
    """Return the form in which all spellings of a mailbox are equal, at most 512 characters.

    The local part is normalised (NFC), case-folded and normalised again, since folding can undo the
    normalisation. The domain becomes its lower-case A-label (RFC 5890 section 2.3.2.1). The result
    does not depend on the database's own rules of letter case.

    :raises ValueError: the address contains non-ASCII characters and is invalid.
    """
    if email.isascii():
        return email.lower()
    address = email_validator.validate_email(email, check_deliverability=False)
    return f"{_fold(address.local_part)}@{address.ascii_domain.lower()}"


def fold_username(username: str) -> str:
    """Return the form by which usernames are sorted and searched, regardless of letter case.

    Trailing spaces are removed: MySQL's utf8mb4_bin ignores them in comparisons, SQLite does not.
    """
    folded = username.lower() if username.isascii() else _fold(username)
    return folded.rstrip(" ")


def prefix_range(prefix: str) -> tuple[str, str]:
    """Return the first text that starts with a prefix, and the first text after all of those.

    In code-point order, as utf8mb4_bin and SQLite sort.

    :param prefix: not empty.
    """
    head, last = prefix[:-1], ord(prefix[-1]) + 1
    if 0xD800 <= last <= 0xDFFF:  # surrogates are not characters
        last = 0xE000
    if last <= sys.maxunicode:
        return prefix, head + chr(last)
    return prefix, prefix_range(head)[1] if head else prefix + prefix


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
