"""The links of a `Link` header (RFC 8288)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TARGET = re.compile(r"[\s,]*<([^>]*)>")
_PARAMETER = re.compile(
    r"""\s* ; \s* (?:
        ([^\s=;,"<>]+) \s*                                       # the name
        (?: = \s* (?: "((?:[^"\\]|\\.)*)" | ([^;,"]*) ) )?       # the value, quoted or not
    )?""",
    re.VERBOSE | re.DOTALL,
)
_END = re.compile(r"\s*(?:,|\Z)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Link:
    """A link's target, and its relation types in lower case."""

    target: str
    relations: frozenset[str]


def read_links(header: str) -> tuple[list[Link], str]:
    """Return the links of a header, and the rest of it from where it is no list of links.

    Several header fields are one list, joined by commas. Names of parameters and relation types are compared
    without case; of several `rel` of a link the first counts.
    """
    links: list[Link] = []
    position = 0
    while target := _TARGET.match(header, position):
        end, relations = target.end(), None
        while parameter := _PARAMETER.match(header, end):
            end = parameter.end()
            name, quoted, plain = parameter.groups()
            if relations is None and name and name.lower() == "rel":
                relations = plain or _ESCAPED.sub(r"\1", quoted or "")
        stop = _END.match(header, end)
        if stop is None:
            break
        links.append(Link(target[1].strip(), frozenset((relations or "").lower().split())))
        position = stop.end()
    return links, header[position:].strip(" \t,")


def next_link(header: str) -> str | None:
    """Return the target of the link to the next page, or None if there is none.

    Raises ValueError if none was found and a part of the header could not be read: it may be the one.
    """
    links, rest = read_links(header)
    for link in links:
        if "next" in link.relations:
            return link.target
    if rest:
        raise ValueError(rest)
    return None
