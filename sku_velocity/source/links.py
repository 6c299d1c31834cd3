"""The links of a `Link` header (RFC 8288)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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
# Spellings that may mean the next page; not next-archive, which is another relation.
_NEXT = re.compile(
    r"(?<![\w-])(?:next(?:[-_]?(?:page|link|set|url|results?))?|page[-_]?next|following)(?![\w-])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Link:
    """A link's target, its relation types in lower case, and the values of all its `rel` and `rel*`."""

    target: str
    relations: frozenset[str]
    written: tuple[str, ...] = field(default=(), compare=False)


def read_links(header: str) -> tuple[list[Link], str]:
    """Return the links of a header, and the rest of it from where it is no list of links.

    Several header fields are one list, joined by commas. Names of parameters and relation types are compared
    without case; of several `rel` of a link the first counts.
    """
    links: list[Link] = []
    position = 0
    while target := _TARGET.match(header, position):
        end, relations = target.end(), None
        written: list[str] = []
        while parameter := _PARAMETER.match(header, end):
            end = parameter.end()
            name, quoted, plain = parameter.groups()
            if not name or name.lower() not in ("rel", "rel*"):
                continue
            written.append(plain or _ESCAPED.sub(r"\1", quoted or ""))
            if relations is None and name.lower() == "rel":
                relations = written[-1]
        stop = _END.match(header, end)
        if stop is None:
            break
        types = frozenset((relations or "").lower().split())
        links.append(Link(target[1].strip(), types, tuple(written)))
        position = stop.end()
    return links, header[position:].strip(" \t,")


def next_link(header: str) -> str | None:
    """Return the target of the link to the next page, or None if there is none.

    Raises ValueError if none was found and it may be one that is not written as RFC 8288 says: in a part of
    the header that could not be read, or with an unusual `rel` such as nextPage.
    """
    links, rest = read_links(header)
    for link in links:
        if "next" in link.relations:
            return link.target
    unusual = next((each for link in links for each in link.written if _NEXT.search(each)), None)
    if rest or unusual:
        raise ValueError(rest or f"rel: {unusual}")
    return None
