"""The words by which a search finds a user. Knows no database.

A word is a part of a name or an address, from where a word starts to the next space or @; the whole
address is one, too. ``ada.lovelace@example.com`` has ``ada.lovelace@example.com``, ``lovelace``,
``example.com`` and ``com``. A search looks for words that begin with what it is given. See
docs/decisions/search.md.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise

from project.api.users.folding import fold_username

WORD_LENGTH = 64
MAX_WORDS = 256

# MySQL compares short texts as if spaces followed, so words have no characters before the space.
_SEPARATORS = r"\s\x00-\x1f\x7f,;:<>()\[\]{}\u3001\u3002\u30fb\u300c\u300d"
_CHUNKS = re.compile(f"[^{_SEPARATORS}]+")
_PARTS = re.compile(f"[^@{_SEPARATORS}]+")
_ASCII_WORDS = re.compile(f"(?=([^@{_SEPARATORS}]{{1,{WORD_LENGTH}}}))[a-z0-9]+")

# Scripts in which words, or the parts of a name, stand side by side without a space.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana, and iteration marks
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"  # Han
    "\uac00-\ud7a3]"  # Hangul: a Korean name has no space after the family name
)

# Accents of Latin, Greek and Cyrillic; the points of Hebrew; the vowel marks of Arabic. The marks
# of other scripts, such as the voiced sound mark of kana, distinguish words.
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670]")
# Letters that Unicode does not decompose but its collation does; signs that are typed for others;
# characters that nobody sees.
_LIKE = str.maketrans(
    {
        **{"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "æ": "ae", "œ": "oe"},
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u2010\u2011", "-"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", ""),
    }
)


def words_of(username: str, email: str, email_folded: str) -> list[str]:
    """Return the words of a user, sorted; none is the beginning of another one.

    :param email_folded: the address with the A-labels of its domain, as ``fold_email`` returns it.
    """
    texts = [email]
    if not email.isascii():
        texts.append(email_folded)
    if "xn--" in email_folded:
        texts.append(_with_unicode_domain(email_folded))
    texts.append(username)
    folded = "\n".join(map(_fold, texts))
    words = [chunk[:WORD_LENGTH] for chunk in _CHUNKS.findall(folded)]
    words += _ASCII_WORDS.findall(folded) if folded.isascii() else _inner_words(folded)
    if len(words) > MAX_WORDS:
        words = list(dict.fromkeys(words))[:MAX_WORDS]
    return _without_prefixes(words)


def search_words(text: str) -> list[str]:
    """Return the words of a search, the longest first; each must be the beginning of a word.

    There are none if the text consists of separators. ``@example.com`` looks for the domain.
    """
    chunks = (chunk.lstrip("@")[:WORD_LENGTH] for chunk in _CHUNKS.findall(_fold(text)))
    return sorted(_without_prefixes(filter(None, chunks)), key=len, reverse=True)


def _inner_words(folded: str) -> Iterator[str]:
    for part in _PARTS.findall(folded):
        if part.isascii():
            yield from _ASCII_WORDS.findall(part)
            continue
        before = ""
        for place, character in enumerate(part):
            if character.isalnum():
                kind = "unspaced" if _UNSPACED.match(character) else "spaced"
                if before != "spaced" or kind == "unspaced":
                    yield part[place : place + WORD_LENGTH]
                before = kind
            elif not unicodedata.category(character).startswith("M"):  # a mark continues a word
                before = ""


def _fold(text: str) -> str:
    """Fold as names are folded, and without compatibility forms and accents."""
    folded = fold_username(text)
    if folded.isascii():
        return folded
    # A compatibility form may stand for a capital letter.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", folded).casefold())
    plain = _ACCENTS.sub("", plain)
    if plain.isascii():
        return plain
    return unicodedata.normalize("NFC", plain.translate(_LIKE))


def _with_unicode_domain(email: str) -> str:
    local, _, domain = email.rpartition("@")
    return f"{local}@{'.'.join(map(_unicode_label, domain.split('.')))}"


def _unicode_label(label: str) -> str:
    try:
        return (
            label.removeprefix("xn--").encode().decode("punycode" if "xn--" in label else "ascii")
        )
    except UnicodeError:
        return label


def _without_prefixes(words: Iterable[str]) -> list[str]:
    """Return the words that are not the beginning of another one, which finds the user as well."""
    ordered = [*sorted(set(words)), ""]
    return [word for word, after in pairwise(ordered) if not after.startswith(word)]
