"""Names of files and artifacts: safe, and never the same for two sources or warehouses."""

from __future__ import annotations

import re
import string

from hypothesis import example, given
from hypothesis import strategies as st

from sku_velocity.output.names import artifact_key, file_stem

SAFE = set(string.ascii_letters + string.digits + "-_.")
sources = st.from_regex(r"[a-z0-9]{1,3}(-[a-z0-9]{1,3}){0,3}", fullmatch=True) | st.text("aA-.é", min_size=1)
warehouses = st.text("abAB1-. _é/", min_size=1, max_size=8) | st.text(min_size=1, max_size=200)
places = st.tuples(sources, warehouses)


@given(places, places)
@example(("c", "a-b"), ("b-c", "a"))
@example(("acme", "eu-1"), ("acme-eu", "1"))
@example(("acme", "WH-1"), ("acme", "wh-1"))
@example(("acme", "WH-1"), ("acme", "WH_1"))
@example(("acme", "倉庫"), ("acme", "倉"))
def test_two_places_share_neither_a_file_nor_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    same = one == other
    assert (file_stem(*one).lower() == file_stem(*other).lower()) is same
    assert (artifact_key("summary", *one) == artifact_key("summary", *other)) is same


@given(places)
def test_names_have_only_characters_that_every_file_system_and_prefect_accept(place: tuple[str, str]) -> None:
    assert set(file_stem(*place)) <= SAFE and not file_stem(*place).startswith(".")
    assert len(file_stem(*place)) <= 2 * (60 + 17) + 1
    assert re.fullmatch("[a-z0-9-]+", artifact_key("summary", *place))


def test_a_usual_name_is_legible() -> None:
    assert file_stem("acme", "WH-01") == "acme.WH-01"
    assert artifact_key("summary", "acme", "WH-01") == "acme--wh-01--summary"
    assert artifact_key("rejects", "acme") == "acme--rejects"


@given(sources, sources, warehouses)
def test_a_key_of_a_source_is_never_one_of_a_warehouse(one: str, other: str, warehouse: str) -> None:
    assert artifact_key("rejects", one) != artifact_key("rejects", other, warehouse)
