"""Filters (RFC 7644 section 3.4.2.2): limited to what indexes answer."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from project.api.scim.errors import InvalidRequest
from project.api.users.service import LARGEST_ID
from project.database import Row

MAX_TERMS = 20
MAX_MATCHES = 1000
"""How many resources a term may find."""
MULTIVALUED = frozenset({"emails", "members"})


class Term(NamedTuple):
    """A comparison of one attribute.

    :param attribute: the name as RFC 7643 spells it.
    :param operator: ``eq``, ``sw`` or ``co``.
    :param kind: of an attribute with several values, the ``type`` of those that are compared; None:
        of any.
    """

    attribute: str
    operator: str
    value: str
    kind: str | None = None


class Logical(NamedTuple):
    """Filters of which all (``and``) or any (``or``) must be true."""

    operator: str
    parts: tuple["Filter", ...]


Filter = Term | Logical
Matches = Iterable[tuple[Term, Row]]
Finders = Mapping[str, Callable[[Sequence[Term]], Matches]]
"""By attribute, what returns the rows for which comparisons by ``eq`` are true, with these."""
Fetch = Callable[[Sequence[int]], Sequence[Row]]
Found = tuple[list[int], Fetch]
"""The ids of rows, in order, and what returns some of the rows."""
Operators = Mapping[str, frozenset[str]]
"""By attribute, the operators that a filter may have; ``emails`` is ``emails.value``."""


def parse(text: str, operators: Operators, schema: str) -> Filter:
    """Return the filter in a text.

    :param operators: what the resource type can find.
    :param schema: the resource type's, which may stand before an attribute.
    :raises InvalidRequest: it is no filter, has more than ``MAX_TERMS`` terms, or needs more than
        what ``operators`` has (400, ``invalidFilter``).
    """
    from project.api.scim import library

    names = {name.lower(): name for name in operators}
    found = library.parse_filter(text, names, schema.lower())
    for number, term in enumerate(terms(found), 1):
        if number > MAX_TERMS:
            raise invalid_filter(f"A filter may have {MAX_TERMS} comparisons at most.")
        if term.operator not in operators[term.attribute]:
            supported = ", ".join(sorted(operators[term.attribute]))
            raise invalid_filter(f"{term.attribute} can be compared by: {supported}.")
        if term.operator != "eq" and not term.value.strip():
            raise invalid_filter(f"{term.attribute}: The text must not be empty.")
    return found


def terms(found: Filter) -> Iterator[Term]:
    """Yield the comparisons in a filter."""
    if isinstance(found, Term):
        yield found
    else:
        for part in found.parts:
            yield from terms(part)


def find(
    condition: Filter,
    equal: Finders,
    part: Callable[[Term], Iterable[Row]],
    by_ids: Fetch,
) -> Found:
    """Return what a filter finds.

    :param part: returns the rows for which a comparison by ``sw`` or ``co`` is true.
    :param by_ids: returns rows by their ids, in any order.
    :raises InvalidRequest: a comparison finds too many (400, ``tooMany``).
    """
    wanted = set(terms(condition))
    rows: dict[int, Row] = {}
    ids: dict[Term, set[int]] = {term: set() for term in wanted}
    for name, find_equal in equal.items():
        if same := [term for term in wanted if term.operator == "eq" and term.attribute == name]:
            for term, row in find_equal(same):
                ids[term].add(row.id)
                rows[row.id] = row
    for term in wanted:
        if term.operator != "eq":
            ids[term] = {row.id for row in part(term)}

    def fetch(page: Sequence[int]) -> Sequence[Row]:
        if missing := [each for each in page if each not in rows]:
            rows.update((row.id, row) for row in by_ids(missing))
        return [rows[each] for each in page if each in rows]

    return sorted(_matches(condition, ids)), fetch


def read_id(text: str) -> int | None:
    """Return an id; it must be spelled as ``id`` is. None: no user and no group has it."""
    if re.fullmatch("[1-9][0-9]{0,9}", text) and int(text) <= LARGEST_ID:
        return int(text)
    return None


def _matches(found: Filter, ids: Mapping[Term, set[int]]) -> set[int]:
    """Return the ids of the resources for which a filter is true.

    :param ids: those that each of its comparisons finds.
    """
    if isinstance(found, Term):
        return ids[found]
    sets = [_matches(part, ids) for part in found.parts]
    return set.intersection(*sets) if found.operator == "and" else set.union(*sets)


def too_many() -> InvalidRequest:
    """Return the error for a comparison that finds more than ``MAX_MATCHES`` resources."""
    return InvalidRequest(
        "tooMany", f"A comparison of the filter finds more than {MAX_MATCHES:,} resources."
    )


def invalid_filter(detail: str) -> InvalidRequest:
    """Return the error for a filter that is wrong or not supported."""
    return InvalidRequest("invalidFilter", detail)
