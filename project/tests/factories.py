"""Makes the rows that tests need, and shows those that there are."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import Row, insert, select

from project import db
from project.api.groups import service as groups
from project.api.models import User
from project.api.users import word_index
from project.database import read

_numbers = count(10_000)  # of one length, so that their order as text is that of their making


def make_user(**values: Any) -> User:
    """Add and return a user; what is not given is made up."""
    number = next(_numbers)
    user = User(**{"username": f"user{number}", "email": f"user{number}@example.com", **values})
    db.session.add(user)
    db.session.commit()
    return user


def make_users(count: int, created_at: datetime = datetime(2026, 1, 1)) -> None:
    """Add many users at once, all created at the same time."""
    first = next(_numbers)
    emails = [f"many-{first}-{number}@example.com" for number in range(count)]
    rows = [
        {
            "username": f"user{number}",
            "username_folded": f"user{number}",
            "email": email,
            "email_folded": email,
            "created_at": created_at,
            "updated_at": created_at,
        }
        for number, email in enumerate(emails)
    ]
    db.session.execute(insert(User), rows)
    word_index.add_in_bulk(rows)
    db.session.commit()


def all_users() -> Sequence[Row[Any]]:
    """Return the committed users, in the order of their ids."""
    return read(select(*User.__table__.c).order_by(User.id), {})


def make_group(display_name: str, *members: User | int, **values: Any) -> Row[Any]:
    """Add and return a group with members."""
    ids = [each if isinstance(each, int) else each.id for each in members]
    group: Row[Any] = groups.create_group(display_name, member_ids=ids, **values)
    db.session.commit()
    return group
