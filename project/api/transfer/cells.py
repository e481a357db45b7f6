"""Reads cells as people and other systems write them."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

import orjson

from project.errors import Message

FIRST_YEAR = 1000  # MySQL's DATETIME supports no years before
FLAG_REASON = Message("Must be yes or no, such as true, 1 or active.")
TIME_REASON = Message("Must be a time such as 2026-11-23T15:12:58Z, not before the year 1000.")

# What stands around a text without being seen: white space, all of it below U+3001 (Unicode's
# PropList, White_Space), and characters of no width.
_AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u2060\ufeff\u180e"

_EMPTY = {"", "NULL", "\\N", "null", "(null)"}

_YES = """
    true 1 1.0 yes y t on x active enabled activated provisioned password_expired recovery ✓ ✔
    wahr ja j aktiv aktiviert vrai oui o actif active verdadero sí si s activo activa
    vero sì attivo attiva verdadeiro sim ativo ativa waar actief истина да активен активный
    はい 有効 真 是 真 启用 啟用 有效 激活
    """
_NO = """
    false 0 0.0 no n f off - inactive suspended disabled blocked deactivated banned archived
    deprovisioned deleted expired invited pending staged locked locked_out ldap_blocked falsch
    blocked_pending_approval nein inaktiv deaktiviert gesperrt faux non inactif inactive falso
    inactivo inactiva suspendido inattivo inattiva sospeso não nao inativo inativa suspenso
    onwaar nee inactief geblokkeerd ложь нет неактивен неактивный заблокирован
    いいえ 無効 偽 否 假 禁用 停用 无效 無效
    """
FLAGS = dict.fromkeys(_YES.split(), True) | dict.fromkeys(_NO.split(), False)
"""The words for yes and no: English, and what Excel and people write in nine other languages."""

_ZONE = re.compile(r"\s*(?:UTC|GMT|Z)$|\s+(?=[+-]\d\d(?::?\d\d)?$)", re.IGNORECASE)
_EPOCH = re.compile(r"-?\d{9,11}(?:\.\d+)?|-?\d{12,14}")


def trimmed(value: Any) -> Any:
    """Return a text without what surrounds it unseen; any other value as it is."""
    return value.strip(_AROUND) if isinstance(value, str) else value


def is_empty(value: Any) -> bool:
    """Return whether an optional cell says nothing; databases write NULL so."""
    return value is None or (isinstance(value, str) and value in _EMPTY)


def read_flag(value: Any) -> bool:
    """Return the yes or no that a value says.

    :raises ValueError: it says neither; the message is a sentence.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        flag = FLAGS.get(unicodedata.normalize("NFKC", value).casefold())
        if flag is not None:
            return flag
    raise ValueError(FLAG_REASON)


def negated(value: Any) -> Any:
    """Return what a column such as "suspended" says about being active.

    An empty cell and 0 mean yes, and a time at which it was done means no. What cannot be read is
    returned as it is.
    """
    if is_empty(value):
        return True
    try:
        return not read_flag(value)
    except ValueError:
        pass
    try:
        read_moment(value)
    except ValueError:
        return value
    return False


def name_in(value: Any) -> Any:
    """Return the name in a cell that holds a JSON object of what is known of a user.

    Without a name it is the part of the address before the @; empty: there is none.
    """
    try:
        known = orjson.loads(value)
    except (orjson.JSONDecodeError, TypeError):
        return ""
    known = known if isinstance(known, dict) else {}
    names = [known.get(key) for key in ("full_name", "name", "display_name", "username")]
    email = known.get("email")
    names.append(email.partition("@")[0] if isinstance(email, str) else None)
    return next((name for name in map(trimmed, names) if isinstance(name, str) and name), "")


def read_moment(value: Any) -> datetime:
    """Return a time as naive UTC in whole seconds; one without a zone is UTC.

    Accepted are ISO 8601, with a space or a zone's name too, dates, and seconds or milliseconds
    since 1970.

    :raises ValueError: it is no time, or before the year 1000; the message is a sentence.
    """
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = _since_1970(float(value))
        elif _EPOCH.fullmatch(value):
            moment = _since_1970(float(value))
        else:
            text = _ZONE.sub(lambda found: "" if found[0].isspace() else "+00:00", value)
            moment = datetime.fromisoformat(text.replace("/", "-"))
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        if moment.year < FIRST_YEAR:
            raise ValueError(value)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise ValueError(TIME_REASON) from error
    return moment.replace(microsecond=0)


def _since_1970(seconds: float) -> datetime:
    """Return a time from its distance to 1970 in seconds, or in milliseconds if it is that long."""
    if abs(seconds) >= 1e11:  # in seconds, the year 5138
        seconds /= 1000
    if abs(seconds) < 1e8:  # before March 1973: rather a number
        raise ValueError(seconds)
    return datetime.fromtimestamp(seconds, UTC)
