"""Finds whom a person means, for filters of the trail. Users are another feature's."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from project.web.fields import TEXT_LENGTH


class Person(NamedTuple):
    """A user whom a text may mean."""

    id: int
    name: str
    email: str


Search = Callable[[str], Sequence[Person]]
_searches: list[Search] = []


def register_search(search: Search) -> None:
    """Register how users are found by the start of their name or address: the best first."""
    _searches.append(search)


def find_people(text: str) -> Sequence[Person]:
    """Return the first users whom a text may mean; one alone where it is their whole address."""
    if len(text) > TEXT_LENGTH or not text.isprintable():
        return ()
    found = [person for search in _searches for person in search(text)]
    exact = [person for person in found if person.email.casefold() == text.casefold()]
    return exact or found
