"""What SCIM answers: resources, lists of them, and which attributes a client wants (RFC 7644)."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
from flask import Response

MEDIA_TYPE = "application/scim+json"
LIST_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_ALWAYS = {"id", "schemas"}
_PATH = re.compile(
    r"(?:(?P<schema>urn:.+):)?(?P<name>[^.:]*)(?:\.(?P<part>[^.:]+))?", re.IGNORECASE
)

Resource = dict[str, Any]


def respond(body: Mapping[str, Any] | None, status: int = 200) -> Response:
    """Return a response with a JSON object; None: with nothing."""
    content = b"" if body is None else orjson.dumps(body)
    return Response(content, status, content_type=MEDIA_TYPE)


def list_response(resources: Sequence[Resource], total: int, **others: Any) -> dict[str, Any]:
    """Return a list (RFC 7644 section 3.4.2).

    :param others: ``startIndex``, or the cursors of RFC 9865; what is None is left out.
    """
    return {
        "schemas": [LIST_SCHEMA],
        "totalResults": total,
        "itemsPerPage": len(resources),
        **{name: value for name, value in others.items() if value is not None},
        "Resources": resources,
    }


class Selection:
    """Which attributes of resources a client wants (RFC 7644 section 3.9).

    Names are compared in any letter case, and may have the schema in front. ``id`` and ``schemas``
    are always returned.

    :param included: the names in ``attributes``; with any, the others are not returned.
    :param excluded: the names in ``excludedAttributes``; disregarded if there are included ones.
    :param core: the schema of the resource type.
    :param extensions: the schemas under which resources have further attributes.
    """

    def __init__(
        self,
        included: Iterable[str],
        excluded: Iterable[str],
        core: str,
        extensions: Collection[str] = (),
    ) -> None:
        self._core = core.lower()
        self._extensions = {each.lower() for each in extensions}
        self._included = self._parts_by_name(included)
        self._excluded = self._parts_by_name(excluded)

    def wants(self, name: str) -> bool:
        """Return whether at least a part of an attribute is wanted."""
        if self._included:
            return name.lower() in self._included
        return self._excluded.get(name.lower(), {""}) is not None

    def of(self, resource: Resource) -> Resource:
        """Return what is wanted of a resource."""
        if self._included:
            return self._select(resource, self._included, keep=True)
        if self._excluded:
            return self._select(resource, self._excluded, keep=False)
        return resource

    def _parts_by_name(self, paths: Iterable[str]) -> dict[str, set[str] | None]:
        """Return the sub-attributes by the name of the attribute; None: all of it."""
        found: dict[str, set[str] | None] = {}
        for path in paths:
            match = _PATH.fullmatch(path.strip().lower())
            if match is None:
                continue
            schema, name, part = match["schema"], match["name"], match["part"]
            if match[0] in self._extensions:
                name, part = match[0], None
            elif schema in self._extensions:
                name, part = schema, name
            elif schema not in (None, self._core):
                name = match[0]  # of no resource of this type
            known = found.setdefault(name, set())
            if part is None:
                found[name] = None
            elif known is not None:
                known.add(part)
        return found

    @staticmethod
    def _select(
        resource: Resource, parts: Mapping[str, Collection[str] | None], *, keep: bool
    ) -> Resource:
        selected = {}
        for name, value in resource.items():
            key = name.lower()
            if key in _ALWAYS or (key not in parts and not keep):
                selected[name] = value
            elif key in parts:
                inner = parts[key]
                if inner is not None:
                    value = _select_inside(value, inner, keep)
                elif not keep:
                    continue
                if value not in ({}, [], None):
                    selected[name] = value
        return selected


def _select_inside(value: Any, parts: Collection[str], keep: bool) -> Any:
    if isinstance(value, list):
        return [found for each in value if (found := _select_inside(each, parts, keep))]
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if (name.lower() in parts) == keep}
