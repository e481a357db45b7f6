"""Which column of a file is which field of a user.

Names are compared by their letters and digits alone: ``E-Mail``, ``e_mail`` and ``EMAIL`` are one.
To make a column known, add its name to ``NAMES``.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError

from project.api.transfer.cells import name_in, negated, trimmed
from project.errors import FieldError, Invalid, Message

NAMES = {
    "username": """
        username displayname name fullname nameformatted formattedname cn commonname realname
        FIRST+LAST nickname userlogin login preferredusername samaccountname uid
        anzeigename benutzername nomcomplet nombrecompleto nomecompleto 姓名 用户名 氏名
        """,
    "email": """
        email emailaddress mail useremail primaryemail emails workemail businessemail companyemail
        primaryemailaddress userprincipalname usernameuserprincipalname upn email1value
        emailadresse adressemail courriel correoelectronico correo 邮箱 电子邮件 メールアドレス
        """,
    "username IN": "rawusermetadata usermetadata rawmetadata metadata",
    "FIRST": "firstname givenname namegivenname forename vorname prénom prenom nombre nome",
    "LAST": "lastname surname familyname namefamilyname sn nachname apellidos cognome sobrenome",
    "active": """
        active isactive enabled isenabled accountenabled activated isactivated status state
        accountstatus aktiv actif activo attivo
        """,
    "NOT active": """
        suspended issuspended blocked isblocked disabled isdisabled accountdisabled blocksignin
        blocksigninyesnoaccountenabled banned isbanned deactivated isdeactivated inactive archived
        deleteat deletedat blockedat bannedat banneduntil suspendedat suspendedtill deactivatedat
        """,
    "role": "role",
    "password_hash": "passwordhash hashedpassword encryptedpassword passwordbcrypt",
    "created_at": """
        createdat created createddate createddatetime createdtime createdtimestamp createdon
        creationtime creationdate createat datecreated datejoined dateadded joined joinedat joindate
        registered registeredat registrationdate userregistered signupdate timecreated whencreated
        metacreated
        """,
    "updated_at": """
        updatedat updated updatedon updateat modified modifiedat modifiedon datemodified
        lastmodified lastmodifieddatetime lastupdated lastupdate timemodified whenchanged
        metalastmodified
        """,
    "id": "id",
}
"""The names of a field's columns, the best first: a cell that is empty gives way to the next.

``FIRST+LAST`` stands for a first and a last name, ``NOT active`` for columns whose yes means that
somebody may not sign in, and ``username IN`` for cells with a JSON object that holds the name.
"""

CHOSEN = tuple(name for name in NAMES if name.islower())
"""The fields for which a column can be chosen."""

PARENTS = {"profile", "user", "attributes", "metadata", "fields"}
"""Objects of JSON whose keys count as the user's own."""

MAX_IGNORED = 100
MAX_NAME_LENGTH = 100
MAX_PLANS = 100  # NDJSON may have other keys on each line

_KNOWN = {
    name: (field, rank) for field, names in NAMES.items() for rank, name in enumerate(names.split())
}
_CONVERTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "NOT active": ("active", lambda cell: negated(trimmed(cell))),
    "username IN": ("username", name_in),
}
_FULL_NAME_RANK = NAMES["username"].split().index("FIRST+LAST")
_IN_BRACKETS = re.compile(r"\[[^]]*\]|\([^)]*\)")


class _Candidate(NamedTuple):
    """A column, or several that are joined, that give a field.

    :param is_variant: whether the name is spelled otherwise than in ``NAMES``.
    :param places: their positions among the names.
    :param read: makes the value of a single cell.
    """

    field: str
    rank: int
    is_variant: bool
    places: tuple[int, ...]
    read: Callable[[Any], Any] = trimmed


class Plan(NamedTuple):
    """How the cells of a row become values.

    :param fields: those that the columns give.
    """

    fields: frozenset[str]
    read: Callable[[Sequence[Any]], dict[str, Any]]


def chosen_columns(texts: Sequence[str]) -> dict[str, str]:
    """Return columns by field, from texts such as ``email:Work Email``.

    :raises PydanticCustomError: a text is none, or a field occurs twice; for use in a validator.
    """
    chosen: dict[str, str] = {}
    for text in texts:
        field, _, column = text.partition(":")
        if field not in CHOSEN or field in chosen or not trimmed(column):
            message = "Must be FIELD:COLUMN, with a field of {fields} once each."
            raise PydanticCustomError("map", message, {"fields": ", ".join(CHOSEN)})
        chosen[field] = trimmed(column)
    return chosen


@lru_cache(maxsize=4096)
def _field_of(name: str) -> tuple[str, int] | None:
    """Return the field and the rank of a column's name; None: it is unknown."""
    parent, _, child = name.partition(".")
    spellings = [name, _IN_BRACKETS.sub("", name)]
    if parent.lower() in PARENTS:
        spellings.append(child)
    for spelling in spellings:
        letters = _letters(spelling)
        found = _KNOWN.get(letters) or _KNOWN.get(letters.removesuffix("required"))
        if found is not None:
            return found
    return None


def usual_field(name: str) -> str:
    """Return the field that a column's name tells; empty: none."""
    field, _rank = _field_of(name) or ("", 0)
    if field in ("FIRST", "LAST"):
        return "username"
    return _CONVERTED[field][0] if field in _CONVERTED else field


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


class Columns:
    """The columns of CSV, or keys of JSON, that an import reads; others are ignored.

    :param fields: the fields that the caller may give.
    :param chosen: columns by field, instead of those that their names tell.
    :param left_out: columns whose names tell nothing, as if they were unknown.
    :ivar header_line: the line of the header; None: there is none.
    :ivar used: the columns that each field is read from, the best first.
    :ivar ignored: the first 100 names of other columns, each cut to 100 characters.
    """

    def __init__(
        self,
        fields: Collection[str],
        chosen: Mapping[str, str] = {},
        left_out: Collection[str] = (),
    ) -> None:
        self._fields, self._left_out = set(fields), set(left_out)
        self._chosen = {name: column for name, column in chosen.items() if name in self._fields}
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._noted = set[str]()
        self._own_names = {_letters(name): (name, 0) for name in fields}
        self.header_line: int | None = None
        self.used: dict[str, list[str]] = {}
        self.ignored: list[str] = []

    def plan(self, names: Sequence[str]) -> Plan:
        """Return how rows with columns of these names are read.

        :raises Invalid: two columns have a name of the same meaning (400).
        """
        key = tuple(names)
        if (plan := self._plans.get(key)) is None:
            if len(self._plans) == MAX_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make_plan(key)
        return plan

    def check(self, plan: Plan) -> None:
        """Check that a header has the columns that every row needs.

        :raises Invalid: it lacks one; ``errors`` names each (400).
        """
        needed = ["username", "email", *(["id"] if "id" in self._fields else []), *self._chosen]
        missing = [name for name in dict.fromkeys(needed) if name not in plan.fields]
        if missing:
            problems = [
                FieldError(
                    name,
                    Message("There is no column %(name)s.", name=repr(self._chosen[name]))
                    if name in self._chosen
                    else Message("This column is missing in the header."),
                )
                for name in missing
            ]
            raise Invalid(Message("The header is invalid."), problems)

    def score(self, names: Sequence[str]) -> int:
        """Return how many fields these columns give."""
        return len({each.field for each in self._candidates(tuple(names))})

    def gives(self, names: Sequence[str], *fields: str) -> bool:
        """Return whether columns of these names give all of these fields."""
        return {*fields} <= {each.field for each in self._candidates(tuple(names))}

    def _make_plan(self, names: tuple[str, ...]) -> Plan:
        candidates = self._candidates(names)
        repeated = {
            one.field
            for one, other in zip(candidates, candidates[1:], strict=False)
            if one[:3] == other[:3] and not one.is_variant
        }
        if repeated:
            reason = Message("The header has this column more than once.")
            problems = [FieldError(name, reason) for name in sorted(repeated)]
            raise Invalid(Message("The header is invalid."), problems)
        by_field = {
            name: list(group) for name, group in groupby(candidates, key=attrgetter("field"))
        }
        for name, group in by_field.items():
            columns = self.used.setdefault(name, [])
            for place in (place for each in group for place in each.places):
                if names[place] not in columns and len(columns) < MAX_IGNORED:
                    columns.append(shown_name(names[place]))
        read = {place for each in candidates for place in each.places}
        self._note_ignored(name for place, name in enumerate(names) if place not in read)
        return Plan(frozenset(by_field), _reader(by_field))

    def _candidates(self, names: tuple[str, ...]) -> list[_Candidate]:
        """Return what gives each field: by field, the best first."""
        candidates: list[_Candidate] = []
        parts: dict[str, tuple[int, int]] = {}
        for place, name in enumerate(names):
            known, rank = self._field_of(name)
            own, read = _CONVERTED.get(known, (known, trimmed))
            chosen = [field for field, column in self._chosen.items() if column == name]
            candidates += [
                _Candidate(field, 0, False, (place,), read if field == own else trimmed)
                for field in chosen
            ]
            if known in ("FIRST", "LAST"):
                if known not in parts or rank < parts[known][0]:
                    parts[known] = (rank, place)
            elif own and own not in chosen:
                rank += (read is not trimmed) * len(_KNOWN)
                is_variant = name.lower().replace("_", "") not in _KNOWN
                candidates.append(_Candidate(own, rank, is_variant, (place,), read))
        if parts:
            places = tuple(parts[part][1] for part in ("FIRST", "LAST") if part in parts)
            candidates.append(_Candidate("username", _FULL_NAME_RANK, False, places))
        candidates = [
            each
            for each in candidates
            if each.field in self._fields
            and self._chosen.get(each.field) in (None, names[each.places[0]])
        ]
        if not _is_ours(candidates) and "role" not in self._chosen:
            candidates = [each for each in candidates if each.field != "role"]
        candidates.sort(key=attrgetter("field", "rank", "is_variant"))
        return candidates

    def _field_of(self, name: str) -> tuple[str, int]:
        if name in self._left_out:
            return "", 0
        return _field_of(name) or self._own_names.get(_letters(name)) or ("", 0)

    def _note_ignored(self, names: Any) -> None:
        for name in names:
            if name and name not in self._noted and len(self.ignored) < MAX_IGNORED:
                self._noted.add(name)
                self.ignored.append(shown_name(name))


def _is_ours(candidates: Collection[_Candidate]) -> bool:
    """Return whether columns are named as in our own files: another system's roles are not ours."""
    best = {(each.field, each.rank) for each in candidates}
    return {("username", 0), ("email", 0)} <= best


def shown_name(name: str) -> str:
    """Return a column's name as far as it is shown."""
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"


def _reader(by_field: Mapping[str, list[_Candidate]]) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Return a function that reads the fields of a row."""
    single = {
        name: candidates[0].places[0]
        for name, candidates in by_field.items()
        if len(candidates) == 1 and len(candidates[0].places) == 1 and candidates[0].read is trimmed
    }
    others = [candidates for name, candidates in by_field.items() if name not in single]
    names, pick = tuple(single), itemgetter(*single.values()) if single else None
    is_one = len(single) == 1

    def read(cells: Sequence[Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if pick is not None:
            picked = (pick(cells),) if is_one else pick(cells)
            values = dict(zip(names, map(trimmed, picked), strict=True))
        for candidates in others:
            for each in candidates:
                value = _value(each, cells)
                values[each.field] = value
                if value not in ("", None):
                    break
        return values

    return read


def _value(each: _Candidate, cells: Sequence[Any]) -> Any:
    if len(each.places) == 1:
        return each.read(cells[each.places[0]])
    parts = (trimmed(cells[place]) for place in each.places)
    return " ".join(part for part in parts if isinstance(part, str) and part)
