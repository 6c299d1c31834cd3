"""An error in a source spec names the field and the problem."""

from pathlib import Path
from typing import Any

import pytest

from sku_velocity.errors import SpecError
from sku_velocity.source.spec import load_spec, parse_spec

MINIMAL = {"name": "acme", "base_url": "https://wms.example.com/api"}


def test_a_spec_needs_only_two_keys() -> None:
    spec = parse_spec(MINIMAL, "test")
    assert spec.url == "https://wms.example.com/api/movements"
    assert (spec.paging.page_size, spec.pace.max_concurrency, spec.auth.kind) == (1000, None, "bearer")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_url": "wms.example.com"}, "base_url"),
        ({"base_url": "ftp://wms.example.com"}, "base_url"),
        ({"base_url": "https://me:pw@wms.example.com"}, "must not contain a user or password"),
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
        ({"base_url": "https://wms.example.com/?a=b"}, "request.params"),
        (
            {"request": {"path": "/rows?a=b"}},
            "request.path: must not contain ?: set the query in request.params",
        ),
        (
            {"warehouses": {"request": {"path": "/sites#a"}}},
            "warehouses.request.path: must not contain #",
        ),
        (
            {"total": {"from": "count_request", "request": {"path": "/count?a=b"}}},
            "total.request.path: must not contain ?",
        ),
        (
            {"window": {"params": {"start": "from", "end": "from"}}},
            "window.params.start and window.params.end are both from",
        ),
        ({"request": {"params": {"limit": 5}}}, "request.params.limit and paging.limit_param are both limit"),
        (
            {"request": {"params": {"sort": "a"}}, "order": {"params": {"sort": "b"}}},
            "request.params.sort and order.params.sort",
        ),
        ({"paging": {"offset_param": "limit"}}, "paging.offset_param and paging.limit_param"),
        (
            {"warehouses": {"request": {"params": {"offset": 1}}}},
            "warehouses.request.params.offset and paging.offset_param",
        ),
    ],
)
def test_an_error_names_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match="acme.yaml is not a source spec") as caught:
        parse_spec({**MINIMAL, **change}, "acme.yaml")
    assert message in str(caught.value)


@pytest.mark.parametrize("paging", [{"in": "json_body"}, {"in": "range_header"}, {"style": "next_link"}])
def test_parameters_that_are_not_sent_side_by_side_may_have_one_name(paging: dict[str, Any]) -> None:
    assert parse_spec({**MINIMAL, "request": {"params": {"offset": 1}}, "paging": paging}, "test")


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({**MINIMAL, "base_url": "https://me:hunter2@wms.example.com"}, "acme.yaml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "just text", "", "{unbalanced", "a: !!python/object:os.x {}"])
def test_a_file_without_a_spec_is_named(tmp_path: Path, text: str) -> None:
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


@pytest.mark.parametrize("name", ["netsuite-suiteql", "odoo-json2", "odoo-jsonrpc", "tryton", "tryton-8"])
def test_a_preset_with_its_order_in_the_body_declares_it(name: str) -> None:
    spec = parse_spec({"preset": name, "base_url": "https://wms.example.com"}, "test")
    assert spec.order.is_declared and not spec.order.params
