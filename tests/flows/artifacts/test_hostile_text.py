"""A hostile answer rejects only the record that holds it, or is a clear error."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from flows.artifacts.sync_run import render_chunk
from sku_velocity.errors import SourceMappingError, UnreadableBodyError
from sku_velocity.model.chunk import MAX_EXTRA_FIELDS, OTHER_FIELDS, Chunk, ChunkProgress, Page, PageResult
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.validation import UNPARSED, PageReader
from sku_velocity.store import Store
from sku_velocity.store.database import Database

GOOD = (
    b'{"movement_id": "M-1", "sku_id": "A-1", "warehouse_id": "WH-01", "units_moved": 6, '
    b'"timestamp_utc": "2026-03-01T08:30:00Z"}'
)
DEEP, LONG, HUGE = b"[" * 100_000 + b"]" * 100_000, b"1" + b"0" * 5_000, b"1" + b"0" * 400
ENVELOPE = {"records": {"path": "data"}, "total": {"from": "body", "path": "total"}}
CURSOR = {"style": "cursor", "cursor_path": "next"}


def good(**changes: bytes) -> bytes:
    """Return a good record with some fields, given as JSON, changed or added."""
    fields = {name: json.dumps(value).encode() for name, value in json.loads(GOOD).items()} | changes
    return b"{" + b", ".join(f'"{name}": '.encode() + value for name, value in fields.items()) + b"}"


def page(*records: bytes) -> bytes:
    return b"[" + b", ".join(records) + b"]"


def spec_of(url: str = "http://wms.test", **parts: Any) -> dict[str, Any]:
    fields = {"movement_id": "movement_id"} | parts.pop("fields", {})
    return {"name": "acme", "base_url": url, "auth": {"kind": "none"}, "fields": fields, **parts}


def validate(body: bytes, **parts: Any) -> PageResult:
    reader = PageReader(parse_spec(spec_of(**parts), "test"), "WH-01", Window.everything())
    raw = reader.read(body)
    assert reader.fingerprint(raw, slice(None))
    return reader.validate(raw, Page(0, len(raw.records)))


BROKEN = {
    "nested 100,000 deep": (good(note=DEEP), UNPARSED),
    "nested 300 deep": (good(note=b"[" * 300 + b"]" * 300), UNPARSED),
    "units of 5,001 digits": (good(units_moved=LONG), UNPARSED),
    "units of 401 digits": (good(units_moved=HUGE), "units_moved: must be a whole number"),
    "a bare number of 5,001 digits": (LONG, UNPARSED),
    "units NaN": (good(units_moved=b"NaN"), "units_moved: must be a whole number"),
    "units Infinity": (good(units_moved=b"-Infinity"), "units_moved: must be a whole number"),
    "a lone surrogate": (good(note=b'"\\ud800"'), UNPARSED),
    "a lone surrogate as a key": (good(**{"\\ud800": b"1"}), UNPARSED),
    "Latin-1": (good(note=b'"\xe9"'), UNPARSED),
    "a NUL in the id": (good(movement_id=b'"\\u0000"'), "movement_id: must be a string"),
    "a raw NUL in the id": (good(movement_id=b'"\x00"'), "movement_id: must be a string"),
    "a SKU of 10 MB": (good(sku_id=b'"' + b"A" * 10_000_000 + b'"'), "sku_id: must contain only"),
    "an id of 10 MB": (good(movement_id=b'"' + b"x" * 10_000_000 + b'"'), "movement_id: must be a string of"),
    "a SKU of markup": (good(sku_id=b'"<script>alert(1)</script>"'), "sku_id: must contain only"),
    "a SKU of ANSI": (good(sku_id=b'"\\u001b[2J\\u001b]0;x\\u0007"'), "sku_id: must contain only"),
    "the last of two keys": (GOOD[:-1] + b', "units_moved": -1}', "units_moved: must be a whole number"),
}
LANDING = {
    "the last of two keys": GOOD[:-1] + b', "sku_id": "<b>", "sku_id": "A-1"}',
    "190 levels": good(note=b"[" * 190 + b"]" * 190),
    "numbers without end": good(note=b"[NaN, Infinity, -Infinity, 1e400]"),
    "a number of 401 digits": good(note=HUGE),
    "a text of 10 MB": good(note=b'"' + b"x" * 10_000_000 + b'"'),
    "NULs": good(note=b'"\\u0000 \x00"'),
    "terminal controls": good(note='"\\u001b[31m \x9b31m \u202e"'.encode()),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_hostile_record_rejects_only_itself_with_a_reason(name: str) -> None:
    record, reason = BROKEN[name]
    result = validate(page(GOOD, record, GOOD))
    assert [row.position for row in result.movements] == [0, 2]
    assert [letter.position for letter in result.dead_letters] == [1]
    assert reason in "; ".join(map(str, result.dead_letters[0].reasons))


@pytest.mark.parametrize("name", LANDING)
def test_a_hostile_value_in_an_unmapped_field_is_ignored(name: str) -> None:
    result = validate(page(GOOD, LANDING[name], GOOD))
    assert len(result.movements) == 3 and result.movements[1][1:] == result.movements[0][1:]


def test_the_raw_text_of_an_unparsable_record_is_stored_unchanged() -> None:
    record = good(note=DEEP)
    assert validate(page(GOOD, record)).dead_letters[0].record_json == record.decode()


@pytest.mark.parametrize("record", [good(note=b'"\\ud800"'), good(note=DEEP), good(note=LONG), b'"\xe9"'])
def test_a_page_with_an_unparsable_record_keeps_its_total_and_cursor(record: bytes) -> None:
    """Otherwise the following pages would be lost silently."""
    reader = PageReader(parse_spec(spec_of(paging=CURSOR, **ENVELOPE), "t"), "WH-01", Window.everything())
    raw = reader.read(b'{"data": ' + page(GOOD, record) + b', "total": 17, "next": "c-2"}')
    assert (raw.total, raw.following, len(raw.records)) == (17, "c-2", 2)


@pytest.mark.parametrize("cursor", [b"[1]", b'{"a": 1}', b"true", b'"a\\u0000b"', b'"\\ud800"'])
def test_an_invalid_cursor_is_an_error_and_not_the_end(cursor: bytes) -> None:
    reader = PageReader(parse_spec(spec_of(paging=CURSOR, **ENVELOPE), "t"), "WH-01", Window.everything())
    with pytest.raises(SourceMappingError, match="next is neither text nor a number"):
        reader.read(b'{"data": [], "next": ' + cursor + b"}")


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"\xff\xfe[", b"[1, 2", b"<html>" + b"1" * 9_000, b"[1] [2]", b"\x1f\x8b\x08"]
)
def test_a_body_that_is_not_json_is_an_error(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError, match="the response is not JSON"):
        validate(body)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_another_unicode_encoding_is_read(encoding: str) -> None:
    assert len(validate(page(GOOD).decode().encode(encoding)).movements) == 1


@pytest.mark.parametrize("sign", ["negate", "abs"])
def test_a_number_that_would_fill_the_memory_is_a_reject(sign: str) -> None:
    fields = {"units_moved": {"path": "units_moved", "sign": sign}}
    assert len(validate(page(good(units_moved=b'"1e999999999"')), fields=fields).dead_letters) == 1


def test_a_filter_accepts_a_number_of_any_length() -> None:
    above = [{"path": "units_moved", "above": 0}]
    assert len(validate(page(GOOD, good(units_moved=HUGE)), filter=above).dead_letters) == 1


def test_the_ledger_stores_a_limited_number_of_extra_fields() -> None:
    result = validate(page(*(good(**{f"key-{number}" + "x" * 9_000: b"1"}) for number in range(300))))
    assert len(result.extra_fields) == MAX_EXTRA_FIELDS + 1 and max(map(len, result.extra_fields)) <= 255
    assert result.extra_fields[OTHER_FIELDS] == 300 - MAX_EXTRA_FIELDS


async def count_published(url: str) -> int:
    database = Database(url)
    try:
        async with database.reading() as connection:
            rows = await connection.execute(text("SELECT count(*) FROM published_movements"))
            return int(rows.scalar_one())
    finally:
        await database.close()


FILTER = [{"path": "movement_id", "not_in": ["dropped"]}]
FIELDS = json.loads(GOOD)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
optional = {name: json_values | st.just(value) for name, value in FIELDS.items()}
good_records = st.fixed_dictionaries(
    {name: st.just(value) for name, value in FIELDS.items() if name != "movement_id"},
    optional={"movement_id": st.just("dropped") | st.text(), "note": json_values},
)
records = good_records | st.fixed_dictionaries({}, optional=optional) | json_values
_numbers = count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records, max_size=8), st.sampled_from([b"[{}]", b'"\xe9"', good(note=LONG), DEEP]))
def test_every_record_of_any_json_is_counted_and_stored(store_url: str, sent: list[Any], odd: bytes) -> None:
    size = len(sent) + 1
    result = validate(page(*(json.dumps(record).encode() for record in sent), odd), filter=FILTER)
    run = SyncRun(f"run-{next(_numbers)}", "acme", "WH-01", Window.everything(), size)

    async def land() -> tuple[ChunkProgress, list[DeadLetter]]:
        async with Store.open(store_url) as store:
            await store.runs.begin(run, [Chunk(0, 0, size, 100)])
            progress, letters = (
                await store.chunks.land_page(run.id, 0, result),
                await store.dead_letters.of(run.id),
            )
            await store.publications.publish(run.id, "{}")
            return progress, letters

    progress, letters = asyncio.run(land())
    assert asyncio.run(count_published(store_url)) == progress.loaded
    assert (
        progress.fetched == size == progress.loaded + progress.rejected + progress.trimmed + progress.filtered
    )
    assert [letter.position for letter in letters] == [letter.position for letter in result.dead_letters]
    shown = render_chunk(progress, letters).partition("rejects**")[2].splitlines()
    assert all(row.replace("\\|", "").count("|") == 4 and row.isprintable() for row in shown if row)
