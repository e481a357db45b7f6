"""Filters (RFC 7644 section 3.4.2.2): parsed by scim2-models, limited to what indexes answer."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from scim2_models import InvalidFilterException, ScimFilter
from scim2_models.path import AttrPath, Comparison, FilterNode, LogicalExpr, ValuePath

from project.api.scim.errors import InvalidRequest

MAX_TERMS = 20
MAX_MATCHES = 1000
"""How many resources a term may find."""
_MULTIVALUED = frozenset({"emails", "members"})


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
Operators = Mapping[str, frozenset[str]]
"""By attribute, the operators that a filter may have; ``emails`` is ``emails.value``."""


def parse(text: str, operators: Operators, schema: str) -> Filter:
    """Return the filter in a text.

    :param operators: what the resource type can find.
    :param schema: the resource type's, which may stand before an attribute.
    :raises InvalidRequest: it is no filter, has more than ``MAX_TERMS`` terms, or needs more than
        what ``operators`` has (400, ``invalidFilter``).
    """
    try:
        node = ScimFilter(text).ast
    except InvalidFilterException as error:
        raise _invalid(str(error)) from error
    found = _convert(node, {name.lower(): name for name in operators}, schema.lower())
    for number, term in enumerate(terms(found), 1):
        if number > MAX_TERMS:
            raise _invalid(f"A filter may have {MAX_TERMS} comparisons at most.")
        if term.operator not in operators[term.attribute]:
            supported = ", ".join(sorted(operators[term.attribute]))
            raise _invalid(f"{term.attribute} can be compared by: {supported}.")
        if term.operator != "eq" and not term.value.strip():
            raise _invalid(f"{term.attribute}: The text must not be empty.")
    return found


def terms(found: Filter) -> Iterator[Term]:
    """Yield the comparisons in a filter."""
    if isinstance(found, Term):
        yield found
    else:
        for part in found.parts:
            yield from terms(part)


def matches(found: Filter, ids: Mapping[Term, set[int]]) -> set[int]:
    """Return the ids of the resources for which a filter is true.

    :param ids: those that each of its comparisons finds.
    """
    if isinstance(found, Term):
        return ids[found]
    sets = [matches(part, ids) for part in found.parts]
    return set.intersection(*sets) if found.operator == "and" else set.union(*sets)


def too_many() -> InvalidRequest:
    """Return the error for a comparison that finds more than ``MAX_MATCHES`` resources."""
    return InvalidRequest(
        "tooMany", f"A comparison of the filter finds more than {MAX_MATCHES:,} resources."
    )


def _convert(node: FilterNode, names: Mapping[str, str], schema: str) -> Filter:
    if isinstance(node, LogicalExpr):
        parts = tuple(_convert(each, names, schema) for each in node.terms)
        return Logical(node.op.value, parts)
    if isinstance(node, Comparison):
        name = _name(node.attr_path, names, schema)
        part = node.attr_path.sub_attr
        if part is not None and not (name in _MULTIVALUED and part.lower() == "value"):
            raise _invalid(f"{node.attr_path} cannot be searched for.")
        return Term(name, node.op.value, _text(node))
    if isinstance(node, ValuePath):
        return _value_path(node, _name(node.attr_path, names, schema))
    raise _invalid(f"{node} is not supported.")


def _value_path(node: ValuePath, name: str) -> Term:
    """Return the term of ``emails[type eq "work" and value eq "ada@example.com"]``."""
    inner = node.val_filter
    is_and = isinstance(inner, LogicalExpr) and inner.op.value == "and"
    parts = inner.terms if is_and else (inner,)  # type: ignore[attr-defined]
    values = {each.attr_path.attr.lower(): each for each in parts if isinstance(each, Comparison)}
    kind = values.pop("type", None)
    value = values.pop("value", None)
    is_known = len(parts) == (kind is not None) + (value is not None)
    if (
        name not in _MULTIVALUED
        or value is None
        or not is_known
        or (kind and kind.op.value != "eq")
    ):
        raise _invalid(f"{node} is not supported.")
    return Term(name, value.op.value, _text(value), _text(kind).lower() if kind else None)


def _name(path: AttrPath, names: Mapping[str, str], schema: str) -> str:
    name = names.get(path.attr.lower())
    if name is None or (path.uri or schema).lower() != schema:
        raise _invalid(f"{path} cannot be searched for. What can be: {', '.join(names.values())}.")
    return name


def _text(node: Comparison) -> str:
    if not isinstance(node.value, str):
        raise _invalid(f"{node.attr_path}: The value must be a text in double quotes.")
    return node.value


def _invalid(detail: str) -> InvalidRequest:
    return InvalidRequest("invalidFilter", detail)
