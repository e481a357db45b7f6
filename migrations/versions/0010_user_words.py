"""Store the words by which users are found, and fill them in batches that block no writer.

An upgrade that was interrupted goes on where it stopped. Users that the earlier version of the
service adds or renames meanwhile get their words by `manage.py reindex`.
"""

import re
import unicodedata
from itertools import pairwise

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {
        "engine": "InnoDB",
        "charset": "utf8mb4",
        "collate": "utf8mb4_bin",
    }.items()
}
USERS_PER_BATCH = 1000
WORD_LENGTH = 64
MAX_WORDS = 256

users = sa.table("users", *map(sa.column, ("id", "username", "email", "email_folded")))
words = sa.table("user_words", sa.column("word"), sa.column("user_id"))

# What follows is a copy of the rules of this revision; later code may differ.
SEPARATORS = r"\s\x00-\x1f\x7f,;:<>()\[\]{}\u3001\u3002\u30fb\u300c\u300d"
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff"
    "\u31f0-\u31ff\u3100-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003fffd\uac00-\ud7a3]"
)
ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670]")
LIKE = str.maketrans(
    {
        **{"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "æ": "ae", "œ": "oe"},
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u2010\u2011", "-"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", ""),
    }
)


def fold(text):
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", ACCENTS.sub("", text).translate(LIKE))


def words_in(text):
    folded = fold(text)
    for chunk in re.findall(f"[^{SEPARATORS}]+", folded):
        yield chunk[:WORD_LENGTH]
    for part in re.findall(f"[^@{SEPARATORS}]+", folded):
        before = ""
        for place, character in enumerate(part):
            if character.isalnum():
                kind = "unspaced" if UNSPACED.match(character) else "spaced"
                if before != "spaced" or kind == "unspaced":
                    yield part[place : place + WORD_LENGTH]
                before = kind
            elif not unicodedata.category(character).startswith("M"):
                before = ""


def unicode_label(label):
    try:
        return (
            label.removeprefix("xn--").encode().decode("punycode" if "xn--" in label else "ascii")
        )
    except UnicodeError:
        return label


def words_of(username, email, email_folded):
    texts = [email]
    if not email.isascii():
        texts.append(email_folded)
    if "xn--" in email_folded:
        local, _, domain = email_folded.rpartition("@")
        texts.append(f"{local}@{'.'.join(map(unicode_label, domain.split('.')))}")
    texts.append(username)
    found = [*dict.fromkeys(words_in("\n".join(texts)))][:MAX_WORDS]
    return [
        word for word, after in pairwise([*sorted(set(found)), ""]) if not after.startswith(word)
    ]


def fill(connection):
    sqlite = connection.dialect.name == "sqlite"
    page = sa.select(users).order_by(users.c.id).limit(USERS_PER_BATCH).with_for_update(read=True)
    add = sa.insert(words).prefix_with("OR IGNORE" if sqlite else "IGNORE")
    last_id = 0
    while rows := connection.execute(page.where(users.c.id > last_id)).all():
        entries = [
            {"word": word, "user_id": row.id}
            for row in rows
            for word in words_of(row.username, row.email, row.email_folded)
        ]
        connection.execute(add, sorted(entries, key=lambda entry: entry["word"]))
        connection.exec_driver_sql("COMMIT")
        if sqlite:  # MySQL begins a transaction by itself
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        last_id = rows[-1].id


def upgrade() -> None:
    op.create_table(
        "user_words",
        sa.Column("word", sa.String(WORD_LENGTH), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_words_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("word", "user_id", name=op.f("pk_user_words")),
        sqlite_with_rowid=False,
        if_not_exists=True,
        **OPTIONS,
    )
    if "ix_user_words_user_id_word" not in {
        index["name"] for index in sa.inspect(op.get_bind()).get_indexes("user_words")
    }:
        op.create_index(op.f("ix_user_words_user_id_word"), "user_words", ["user_id", "word"])
    fill(op.get_bind())


def downgrade() -> None:
    op.drop_table("user_words")
