"""Keeps the words of each user in ``user_words``, in the transaction of the write.

The ORM keeps the words of the users that it writes. Other code that writes the table of users calls
one of these functions. The foreign key removes the words of removed users.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Executable, bindparam, column, event, inspect, select, text

from project.api.users.models import FOLDED_EMAIL_LENGTH, User, UserWord
from project.api.users.words import WORD_LENGTH, words_of
from project.database import Row, db, in_transaction, read, write

ROWS_PER_STATEMENT = 20_000
USERS_PER_BATCH = 1000

# All rows are one JSON parameter: the statement is the same for any number of them.
_GIVEN = f"""JSON_TABLE(:rows, '$[*]' COLUMNS (
    word VARCHAR({WORD_LENGTH}) CHARACTER SET utf8mb4 PATH '$[0]',
    user_id INT PATH '$[1]'
)) AS given"""
_SQL = {
    "sqlite": {
        "add": """
            INSERT INTO user_words (word, user_id)
            SELECT value ->> 0, value ->> 1 FROM json_each(:rows)""",
        "remove": """
            DELETE FROM user_words WHERE (word, user_id) IN
            (SELECT value ->> 0, value ->> 1 FROM json_each(:rows))""",
        "ids": """
            SELECT key, users.id FROM json_each(:mailboxes)
            CROSS JOIN users ON users.email_folded = value""",
    },
    "mysql": {
        "add": f"""
            INSERT INTO user_words (word, user_id)
            SELECT given.word, given.user_id FROM {_GIVEN}""",  # nosec B608
        "remove": f"""
            DELETE user_words FROM {_GIVEN} STRAIGHT_JOIN user_words
            ON user_words.word = given.word AND user_words.user_id = given.user_id""",  # nosec B608
        "ids": f"""
            SELECT given.place - 1, users.id
            FROM JSON_TABLE(:mailboxes, '$[*]' COLUMNS (
                place FOR ORDINALITY,
                mailbox VARCHAR({FOLDED_EMAIL_LENGTH}) CHARACTER SET utf8mb4 PATH '$'
            )) AS given
            STRAIGHT_JOIN users ON users.email_folded = given.mailbox""",  # nosec B608
    },
}
_STATEMENTS: dict[str, dict[str, Executable]] = {
    dialect: {
        "add": text(sql["add"]),
        "remove": text(sql["remove"]),
        "ids": text(sql["ids"]).columns(column("place"), column("id")),
    }
    for dialect, sql in _SQL.items()
}
_users: Any = User.__table__.c
_words: Any = UserWord.__table__.c
_NAMES = select(_users.id, _users.username, _users.email, _users.email_folded)
_PAGE = _NAMES.where(_users.id > bindparam("last_id")).order_by(_users.id).limit(USERS_PER_BATCH)
_LOCKED = _NAMES.where(_users.id.in_(bindparam("ids", expanding=True))).with_for_update()
_WORDS_OF = select(_words.word, _words.user_id).where(
    _words.user_id.in_(bindparam("ids", expanding=True))
)

Entry = tuple[str, int]
"""A word and the id of its user: a row of the table."""


class Names(NamedTuple):
    """What a user's words are made of."""

    id: int
    username: str
    email: str
    email_folded: str


def entries_of(users: Iterable[Any]) -> set[Entry]:
    """Return the rows that users should have.

    :param users: rows that begin as ``Names`` does.
    """
    return set(_entries(users))


def _entries(users: Iterable[Any]) -> list[Entry]:
    return [
        (word, user_id)
        for user_id, username, email, email_folded in users
        for word in words_of(username, email, email_folded)
    ]


def names_in(values: Mapping[str, Any]) -> Names:
    """Return the names in the values of a user's columns."""
    return Names(values["id"], values["username"], values["email"], values["email_folded"])


def add(users: Iterable[Any], connection: Connection | None = None) -> None:
    """Add the words of new users.

    :param connection: the one that added them; None: that of ``db.session``.
    """
    _execute("add", _entries(users), connection)


def add_in_bulk(users: Sequence[Mapping[str, Any]]) -> None:
    """Add the words of new users who were added in bulk, so that their ids are unknown.

    :param users: the values of their columns.
    """
    mailboxes = orjson.dumps([values["email_folded"] for values in users]).decode()
    found = write(_statement("ids"), {"mailboxes": mailboxes}).rows
    add(names_in({**users[place], "id": user_id}) for place, user_id in found)


def replace(before: Names, after: Names) -> None:
    """Change the words of a user whose name or address changes."""
    old, new = entries_of([before]), entries_of([after])
    _execute("remove", old - new)
    _execute("add", new - old)


def mend(users: Iterable[Any], connection: Connection | None = None) -> int:
    """Give users exactly the words that they should have; return how many did not have them.

    :param users: rows that begin as ``Names`` does; locked by this transaction.
    :param connection: that of the transaction; None: that of ``db.session``.
    """

    def query(statement: Executable, parameters: dict[str, Any]) -> Iterable[Row]:
        return write(statement, parameters, connection).rows

    superfluous, missing = _differences(list(users), query)
    _execute("remove", superfluous, connection)
    _execute("add", missing, connection)
    return len(_users_of(superfluous | missing))


def commit_mending() -> Iterator[tuple[int, int]]:
    """Mend the words of all users, batch by batch, each in a transaction of its own.

    :return: for each batch, how many users were checked, and how many of them mended.
    """
    last_id = 0
    while users := read(_PAGE, {"last_id": last_id}):
        superfluous, missing = _differences(users, read)
        wrong = _users_of(superfluous | missing)
        yield len(users), _commit_mended(sorted(wrong)) if wrong else 0
        last_id = users[-1].id


@in_transaction
def _commit_mended(ids: Sequence[int]) -> int:
    """Mend the words of users who, since they were checked, may have changed."""
    return mend(write(_LOCKED, {"ids": ids}).rows)


def _differences(
    users: Sequence[Any], query: Callable[..., Iterable[Row]]
) -> tuple[set[Entry], set[Entry]]:
    """Return the rows that users have and should not have, and those that they lack."""
    if not users:
        return set(), set()
    wanted = entries_of(users)
    rows = query(_WORDS_OF, {"ids": [user[0] for user in users]})
    found = {(word, user_id) for word, user_id in rows}
    return found - wanted, wanted - found


def _users_of(entries: set[Entry]) -> set[int]:
    return {user_id for _word, user_id in entries}


def _execute(name: str, entries: Collection[Entry], connection: Connection | None = None) -> None:
    rows = list(entries)
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start : start + ROWS_PER_STATEMENT]
        parameters = {"rows": orjson.dumps(part).decode()}
        write(_statement(name, connection), parameters, connection)


def _statement(name: str, connection: Connection | None = None) -> Executable:
    dialect = (connection or db.engine).dialect.name
    return _STATEMENTS["sqlite" if dialect == "sqlite" else "mysql"][name]


@event.listens_for(User, "after_insert")
def _add_words(_mapper: object, connection: Connection, user: User) -> None:
    add([_names(user)], connection)


@event.listens_for(User, "after_update")
def _replace_words(_mapper: object, connection: Connection, user: User) -> None:
    state: Any = inspect(user).attrs
    if any(state[name].history.has_changes() for name in ("username", "email", "email_folded")):
        mend([_names(user)], connection)


def _names(user: User) -> Names:
    return Names(user.id, user.username, user.email, user.email_folded)
