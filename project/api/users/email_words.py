"""What the library that checks addresses says of them, as messages that pages can translate.

The library fills in characters, lengths and reasons, so its sentences are recognised by their
form. One that is not stays as it is.
"""

import re

from project.errors import Message

_SENTENCES = [
    Message("After Unicode normalization: %(problem)s"),
    Message(
        "After the @-sign, periods cannot be separated by so many characters (%(excess)s too many)."
    ),
    Message("An email address cannot end with a %(mark)s."),
    Message("An email address cannot have a %(mark)s immediately after the @-sign."),
    Message("An email address cannot have a %(mark)s immediately before the @-sign."),
    Message("An email address cannot start with a %(mark)s."),
    Message("Extra character(s) found after close quote: %(characters)s"),
    Message("The display name contains invalid characters when not quoted: %(characters)s."),
    Message("The email address contains invalid characters before the @-sign: %(characters)s."),
    Message("The email address contains unsafe characters: %(characters)s."),
    Message("The email address is too long (%(excess)s too many)."),
    Message("The email address is too long after the @-sign (%(excess)s too many)."),
    Message(
        "The email address is too long after the @-sign (%(excess)s too many after IDNA encoding)."
    ),
    Message("The email address is too long before the @-sign (%(excess)s too many)."),
    Message(
        "The part after the @-sign became invalid after normalizing to international characters"
        " (%(reason)s)."
    ),
    Message(
        "The part after the @-sign contains invalid characters after Unicode normalization:"
        " %(characters)s."
    ),
    Message("The part after the @-sign contains invalid characters: %(characters)s."),
    Message("The part after the @-sign is invalid (%(reason)s)."),
    Message("The part after the @-sign is not valid IDNA (%(reason)s)."),
]
_PARTS = [
    Message("%(count)s character"),
    Message("%(count)s characters"),
    Message("Codepoint %(code)s at position %(place)s of %(label)s not allowed"),
    Message("Codepoint %(code)s not allowed at position %(place)s in %(label)s"),
    Message("First codepoint in label %(label)s must be directionality L, R or AL"),
    Message("Invalid direction for codepoint at position %(place)s in a %(direction)s label"),
    Message("Invalid A-label"),
    Message("Label begins with an illegal combining character"),
    Message("Label has disallowed hyphens in 3rd and 4th position"),
    Message("Label too long"),
    Message("left-to-right"),
    Message("right-to-left"),
    Message("period"),
    Message("hyphen"),
    Message("SPACE"),
    Message("NO-BREAK SPACE"),
    Message("IDEOGRAPHIC SPACE"),
    Message("ZERO WIDTH SPACE"),
]


def _pattern(template: str) -> re.Pattern[str]:
    """Return what matches the texts that are made of a template."""
    pieces = re.split(r"%\((\w+)\)s", template)
    names, literals = pieces[1::2], [re.escape(each) for each in pieces[::2]]
    values = [f"(?P<{name}>.+?)" for name in names]
    return re.compile("".join(map("".join, zip(literals, [*values, ""], strict=True))), re.DOTALL)


_PATTERNS = {each: _pattern(each) for each in [*_SENTENCES, *_PARTS]}


def in_words(text: str) -> Message:
    """Return a sentence of the library as a message; its text stays the same."""
    for template, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(text):
            return Message(
                template,
                **{
                    name: _list_in_words(value) if name == "characters" else in_words(value)
                    for name, value in found.groupdict().items()
                },
            )
    return Message(text)


def _list_in_words(text: str) -> Message:
    first, comma, others = text.partition(", ")
    if not comma:
        return in_words(first)
    return Message("%(first)s, %(others)s", first=in_words(first), others=_list_in_words(others))
