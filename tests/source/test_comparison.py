"""A number equals its text wherever a spec's value is compared with a record's; a boolean only a boolean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sku_velocity.errors import SpecError
from sku_velocity.model.chunk import Page
from sku_velocity.model.window import Window
from sku_velocity.source.comparison import comparison_keys
from sku_velocity.source.envelope import Envelope
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.validation import PageReader

BASE = {"name": "acme", "base_url": "https://wms.example.com"}


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        (261, "261", True),
        (261, 261.0, True),
        (261.0, "261", True),
        (261.0, "261.0", True),
        (261, "261.0", False),
        (261, "0261", False),
        (1.5, "1.5", True),
        (1, True, False),
        ("true", True, False),
        ("True", True, False),
        (0, False, False),
        ("", None, False),
        ("None", None, False),
        ([1], [1], False),
        pytest.param(10**5000, 10**5000, False, id="too long to write out"),
        (float("inf"), 1, False),
    ],
)
def test_two_values_are_equal_if_they_share_a_key(one: Any, other: Any, are_equal: bool) -> None:
    assert bool(comparison_keys(one) & comparison_keys(other)) is are_equal


def statuses(*reported: Any, **status: Any) -> list[str | None]:
    """Return the status of each item, None for a reject."""
    spec = parse_spec({**BASE, "items": {"status": {"path": "status", **status}}}, "test")
    records = [{"sku_id": f"A-{number}", "status": each} for number, each in enumerate(reported)]
    reader = PageReader(spec, "WH-01", Window.everything())
    page = reader.validate(reader.read(json.dumps(records).encode()), Page(0, len(records)))
    found: dict[int, str] = {row.position: str(row.status) for row in page.items}
    return [found.get(position) for position in range(len(records))]


def test_the_status_of_an_item_is_compared_so() -> None:
    active, retired = statuses(1, 0, active=[1], retired=[0])
    one = {"active": [1], "retired": ["0"]}
    assert statuses("1", "0", 1.0, True, "1.0", **one) == [
        active,
        retired,
        active,
        None,
        None,
    ]
    assert statuses(True, False, 1, active=[True], retired=[False]) == [active, retired, None]
    assert statuses(True, None, active=[1]) == [retired, retired]


def test_a_status_cannot_have_both_meanings() -> None:
    with pytest.raises(SpecError, match=r"items.status: .*\['1'\] cannot mean both active and retired"):
        statuses(active=[1], retired=["1"])


@pytest.mark.parametrize(
    ("listed", "reported", "is_wrong"), [(401, "401", True), ("401", 401, True), (1, True, False)]
)
def test_the_values_that_mean_a_wrong_token_are_compared_so(
    listed: Any, reported: Any, is_wrong: bool
) -> None:
    records = {"path": "data", "auth_error_path": "code", "auth_errors": [listed]}
    envelope = Envelope(parse_spec({**BASE, "records": records}, "test"))
    body = json.dumps({"code": reported, "data": []}).encode()
    assert envelope.read(body).is_auth_error is is_wrong


def test_a_boolean_is_not_taken_for_a_number_in_a_spec() -> None:
    with pytest.raises(SpecError, match=r"fields.warehouse_id.const"):
        parse_spec({**BASE, "fields": {"warehouse_id": {"const": True}}}, "test")
    values = {"kind": "json_body", "values": {"a": "{token}", "b": True}}
    body = {"method": "POST", "body": {"a": "", "b": 0}}
    assert parse_spec({**BASE, "auth": values, "request": body}, "test").auth.values["b"] is True
