"""The form of an email address, and the forms in which names and addresses are compared."""

import re
import sys
import unicodedata
from typing import TypeGuard

import email_validator

# Directories are also run on internal names such as `.local` and `.test`.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*"
    r"@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+[A-Za-z]{2,}"
)


def check_email(email: str) -> None:
    """Check the form of an address, without asking the network (RFC 5321, RFC 6531).

    Most addresses are plain, and known at a glance to be right.

    :raises ValueError: it is no address; the text is a sentence that says why.
    """
    if not is_plain_email(email):
        email_validator.validate_email(email, check_deliverability=False)


def is_plain_email(text: object) -> TypeGuard[str]:
    """Say whether an address is certainly right.

    It is ASCII, too short for one of its labels to be too long, and has no two hyphens in a row,
    which are for A-labels.
    """
    return isinstance(text, str) and len(text) <= 64 and bool(_PLAIN_EMAIL.fullmatch(text))


def fold_email(email: str) -> str:
    """Return the form in which two spellings of one mailbox are equal, at most 512 characters.

    The local part is normalised (NFC), case-folded and normalised again, for folding can undo the
    normal form; the domain becomes its lower-case A-label (RFC 5890 section 2.3.2.1). The result
    has the same bytes on every database, whatever the database's own idea of letter case.

    :raises ValueError: an address with characters beyond ASCII is no address.
    """
    if email.isascii():
        return email.lower()
    address = email_validator.validate_email(email, check_deliverability=False)
    return f"{_fold(address.local_part)}@{address.ascii_domain.lower()}"


def fold_username(username: str) -> str:
    """Return the form by which usernames are sorted and searched, in any letter case.

    Space at the end is dropped: MySQL's utf8mb4_bin does not compare it, SQLite would.
    """
    folded = username.lower() if username.isascii() else _fold(username)
    return folded.rstrip(" ")


def fold_email_prefix(prefix: str) -> str:
    """Return the form in which the start of an address is searched, in any letter case.

    Of a domain beyond ASCII there is no start, for its A-label is made of the whole: it is found by
    a whole address only. Space at the end is dropped.
    """
    try:
        return fold_email(prefix.rstrip(" "))
    except ValueError:
        return fold_username(prefix)


def prefix_range(prefix: str) -> tuple[str, str]:
    """Return the first text that starts with a prefix, and the first after all that do.

    By code point, as utf8mb4_bin and SQLite sort.

    :param prefix: not empty.
    """
    head, last = prefix[:-1], ord(prefix[-1]) + 1
    if 0xD800 <= last <= 0xDFFF:  # surrogates are no characters
        last = 0xE000
    if last <= sys.maxunicode:
        return prefix, head + chr(last)
    return prefix, prefix_range(head)[1] if head else prefix + prefix


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
