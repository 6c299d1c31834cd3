"""A Link header is read as RFC 8288 defines it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.source.links import Link, next_link, read_links


@pytest.mark.parametrize(
    "header",
    [
        '<u>; rel="next"',
        "<u>;rel=next",
        '<u>; rel="next last"',
        '<u>; rel="last\tnext"',
        '<u>; rel="Next"',
        '<u>; REL="next"',
        '< u > ; Rel = "NEXT" ;',
        '<u>; rel="next"; rel="prev"',
        '<u>; title="a, b; rel=prev \\" <v>"; rel="next"',
        "<u>; crossorigin; rel=next",
        '<v>; rel="prev", <u>; rel="next", <w>; rel="last"',
        ", <v>; rel=first,, <u>; rel=next,",
        '<u>; rel="next", something else',
        '<u>; rel="n\\ext"',
    ],
)
def test_the_next_link_is_found(header: str) -> None:
    assert next_link(header) == "u"


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        ",",
        '<u>; rel="prev"',
        '<u>; rel="next-archive"',
        "<u>",
        '<u>; title="next"',
        "<u>; rel=nextish",
    ],
)
def test_a_header_without_a_next_link_is_the_end(header: str) -> None:
    assert next_link(header) is None


@pytest.mark.parametrize(
    "header",
    [
        "u; rel=next",
        '<u; rel="next"',
        '<u>; rel="next',
        '<u> rel="next"',
        "<v>; rel=prev, u; rel=next",
        "next",
        '<u>; rel="prev"; rel="next"',
        "<u>; rel='next'",
        '<u>; rel="last,Next"',
        "<u>; rel*=UTF-8''next",
    ],
)
def test_a_header_that_cannot_be_read_is_an_error(header: str) -> None:
    with pytest.raises(ValueError):
        next_link(header)


targets = st.text(st.characters(codec="latin-1", exclude_characters=">", exclude_categories=["C"])).map(
    str.strip
)
relations = st.lists(st.sampled_from(["next", "Next", "LAST", "prev", "https://x.test/rel"]), max_size=3)
values = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=9)


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.tuples(targets, relations, values, st.booleans()), max_size=4))
def test_every_header_that_is_written_is_read_back(links: list[tuple[str, list[str], str, bool]]) -> None:
    fields = []
    for target, types, title, is_first in links:
        parameters = [f"title={quoted(title)}", f"REL={quoted(' '.join(types))}", 'rel="other"']
        fields.append("; ".join([f"<{target}>", *(parameters if is_first else parameters[1:])]))
    expected = [Link(target, frozenset(each.lower() for each in types)) for target, types, _, _ in links]
    assert read_links(", ".join(fields)) == (expected, "")


@given(st.text(st.sampled_from('<>;,="\\ \trelnxtu'), max_size=60))
def test_any_header_is_read_or_the_rest_of_it_is_returned(header: str) -> None:
    links, rest = read_links(header)
    assert rest in header and (links or rest or not header.strip(" \t,"))
