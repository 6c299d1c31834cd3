"""A source spec says what is wrong with it, and where."""

from pathlib import Path
from typing import Any

import pytest

from sku_velocity.errors import SpecError
from sku_velocity.source.spec import load_spec, parse_spec

MINIMAL = {"name": "acme", "base_url": "https://wms.example.com/api"}


def test_two_keys_are_enough() -> None:
    spec = parse_spec(MINIMAL, "test")
    assert spec.url == "https://wms.example.com/api/movements"
    assert (spec.paging.page_size, spec.pace.max_concurrency, spec.auth.kind) == (1000, None, "bearer")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"base_url": "wms.example.com"}, "base_url"),
        ({"base_url": "ftp://wms.example.com"}, "base_url"),
        ({"base_url": "https://me:pw@wms.example.com"}, "must not carry a user or password"),
        ({"name": "Acme WMS"}, "name"),
        ({"paging": {"page_sise": 10}}, "paging.page_sise"),
        ({"paging": {"style": "cursor"}}, "paging.style"),
        ({"total": {"from": "body"}}, "needs total.path"),
        ({"total": {"from": "header"}}, "needs total.header"),
        ({"total": {"from": "body", "path": "count"}}, "records.path"),
        ({"records": {"path": "a..b"}}, "records.path"),
        ({"request": {"params": {"wh": "{warehous}"}}}, "{warehous}"),
        ({"pace": {"requests_per_second": 0}}, "pace.requests_per_second"),
        ({"fields": {"sku": "x"}}, "fields.sku"),
    ],
)
def test_a_wrong_spec_names_the_field(change: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match="acme.yaml is not a source spec") as caught:
        parse_spec({**MINIMAL, **change}, "acme.yaml")
    assert told in str(caught.value)


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({**MINIMAL, "base_url": "https://me:hunter2@wms.example.com"}, "acme.yaml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "just text", "", "{unbalanced", "a: !!python/object:os.x {}"])
def test_a_file_that_holds_no_spec_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match="acme.yaml"):
        load_spec(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere.yaml cannot be read: No such file"):
        load_spec(tmp_path / "nowhere.yaml")


def test_the_page_size_stays_within_what_the_api_allows() -> None:
    spec = parse_spec({**MINIMAL, "paging": {"page_size": 5000, "max_page_size": 1000}}, "test")
    assert spec.paging.effective_page_size == 1000
