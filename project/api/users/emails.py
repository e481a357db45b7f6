"""The form of an email address, and when two of them are one mailbox."""

import unicodedata

import email_validator

# Directories are also run on internal names such as `.local` and `.test`.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def check_email(email: str) -> None:
    """Check the form of an address, without asking the network (RFC 5321, RFC 6531).

    :raises ValueError: it is no address; the text is a sentence that says why.
    """
    email_validator.validate_email(email, check_deliverability=False)


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
    local = unicodedata.normalize("NFC", address.local_part)
    return f"{unicodedata.normalize('NFC', local.casefold())}@{address.ascii_domain.lower()}"
