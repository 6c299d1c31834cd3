"""What is kept and compared is the record as it was received, not what it was converted to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sku_velocity.model.chunk import Page
from sku_velocity.model.dead_letter import DeadLetterFilter
from sku_velocity.source.page_json import record_texts
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.replay import replay_run
from sku_velocity.store import Store
from tests.source.test_validation import GOOD, reader
from tests.support.served_records import read, record, serve_records, spec_of
from tests.support.steps_driver import published

BAD = json.dumps({**GOOD, "units_moved": -1})


def with_field(text: str) -> str:
    return f"{BAD[:-1]}, {text}}}"


@pytest.mark.parametrize(
    "text",
    [
        with_field('"price": 1.10'),
        with_field('"price": 1, "price": 2'),
        with_field('"price": 1e400'),
        with_field('"price" :  1,\n\t"name": "\\u00e9 é"'),
        with_field(f'"price": {"9" * 5000}'),
        with_field(f'"deep": {"[" * 3000}{"]" * 3000}'),
        "null",
        "-0.0",
        '"text, with ] and \\" in it"',
    ],
)
@pytest.mark.parametrize("path", ["", "data.items"])
def test_a_dead_letter_is_the_text_of_the_record(text: str, path: str) -> None:
    listed = f" [ {json.dumps(GOOD)} , {text}\n,{json.dumps(GOOD)}] "
    body = f'{{"total": [1, "]"], "data": {{"items":{listed}, "x": {{}} }} }}' if path else listed
    pages = reader(records={"path": path})
    (letter,) = pages.validate(pages.read(body.encode()), Page(0, 3)).dead_letters
    assert (letter.position, letter.record_json) == (1, text)


def test_the_last_of_two_equal_keys_holds_the_records() -> None:
    assert record_texts(b'{"data": [1, 2], "data": [3]}', "data") == ["3"]


SPECS: dict[str, Any] = {
    "negated": {"units_moved": {"path": "units_moved", "sign": "negate"}},
    "absolute": {"units_moved": {"path": "units_moved", "sign": "abs"}},
    "in a zone": {"timestamp_utc": {"path": "timestamp_utc", "assume_timezone": "Europe/Berlin"}},
    "in another format": {"timestamp_utc": {"path": "timestamp_utc", "format": "%Y-%m-%dT%H:%M:%SZ"}},
}


@pytest.mark.parametrize("fields", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("ids", [{"movement_id": "movement_id"}, {}], ids=["ids", "no ids"])
@pytest.mark.parametrize("units", [6, -6, 6.0, "6", None])
def test_a_fingerprint_does_not_depend_on_the_conversion(
    fields: dict[str, Any], ids: dict[str, str], units: Any
) -> None:
    body = json.dumps([{**GOOD, "units_moved": units, "note": [1, {"a": None}]}]).encode()
    plain, changed = reader(fields=ids), reader(fields=ids | fields)
    assert plain.fingerprint(plain.read(body), slice(1)) == changed.fingerprint(changed.read(body), slice(1))


def test_another_value_at_a_mapped_path_changes_the_fingerprint() -> None:
    pages = reader()
    bodies = [json.dumps([{**GOOD, "units_moved": units}]).encode() for units in (6, 7, -6)]
    assert len({pages.fingerprint(pages.read(body), slice(1)) for body in bodies}) == 3


def test_with_an_id_a_field_that_is_not_mapped_does_not_count() -> None:
    pages = reader()
    bodies = [json.dumps([{**GOOD, "served_at": now}]).encode() for now in (1, 2)]
    assert len({pages.fingerprint(pages.read(body), slice(1)) for body in bodies}) == 1


def outbound(number: int) -> dict[str, Any]:
    return record(number, units_moved=-1, quantity=1, type="pick", at="2026-03-01T08:00:00")


FIXES: dict[str, dict[str, Any]] = {
    "sign": {"fields": {"movement_id": "id", "units_moved": {"path": "units_moved", "sign": "negate"}}},
    "path": {"fields": {"movement_id": "id", "units_moved": "quantity"}},
    "filter": {"filter": [{"path": "type", "not_in": ["pick"]}], "limits": {"empty_is_normal": True}},
}


async def replay(spec: SourceSpec, url: str) -> int:
    async with Store.open(url) as store:
        run = await store.runs.find("run")
        assert run
        report = await replay_run(store, spec, run, DeadLetterFilter(), "jane")
        return report.loaded + report.filtered


@pytest.mark.parametrize("fix", FIXES.values(), ids=FIXES.keys())
def test_replay_followed_by_retry_publishes(fix: dict[str, Any], store_url: str) -> None:
    with serve_records([outbound(number) for number in range(40)]) as served:
        first = read(served, store_url)
        assert first and not first.published and first.rejected == 40
        assert asyncio.run(replay(spec_of(served, **fix), store_url)) == 40
        second = read(served, store_url, **fix)
    assert second and second.published
    assert published(store_url).total() == (0 if "filter" in fix else 40)


def test_a_replay_by_another_spec_than_the_retry_leaves_no_two_mappings(store_url: str) -> None:
    """The first spec rejects 8 of 40 records, the second loads them: a Retry by the first publishes none."""
    with serve_records([record(n, units_moved=-1 if n < 8 else 1) for n in range(40)]) as served:
        assert read(served, store_url, limits={"max_rejects": 3})
        fixed = {"fields": {"movement_id": "id", "units_moved": {"path": "units_moved", "sign": "abs"}}}
        assert asyncio.run(replay(spec_of(served, **fixed), store_url)) == 8
        again = read(served, store_url, limits={"max_rejects": 3})
    assert again and again.rejected == 8 and not again.published


@pytest.mark.parametrize("reason", ["units_moved", "item.qty", "units_moved (item.qty): must be"])
def test_a_dead_letter_is_found_by_the_name_and_the_path_of_its_field(store_url: str, reason: str) -> None:
    fields = {"movement_id": "id", "units_moved": "item.qty"}
    with serve_records([record(n, item={"qty": 1.5 if n < 3 else 1}) for n in range(30)]) as served:
        assert read(served, store_url, fields=fields)

    async def count() -> int:
        async with Store.open(store_url) as store:
            return await store.dead_letters.count(DeadLetterFilter(reason=reason))

    assert asyncio.run(count()) == 3
