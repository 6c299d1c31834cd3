"""What a body says besides its records is read whenever the records are, or it is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import SourceAuthError, SourceMappingError, SourceThrottledError
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.envelope import Envelope, checked_count, read_count, read_flag
from sku_velocity.source.requests import RequestParts
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.source.validation import PageReader
from tests.support.scripted_server import Reply, scripted
from tests.support.steps_driver import no_sleep

PARTS: dict[str, Any] = {
    "records": {
        "path": "data",
        "error_path": "error",
        "auth_error_path": "code",
        "auth_errors": ["bad_token", "100"],
    },
    "throttle": {"body_status_path": "status"},
    "total": {"from": "body", "path": "total"},
    "paging": {"style": "cursor", "cursor_path": "next", "more_path": "more"},
}
NOTE = "\N{LATIN SMALL LETTER E WITH ACUTE}"
SPELLINGS = {
    "plain": lambda text: text.encode(),
    "BOM": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "Latin-1": lambda text: text.encode("latin-1"),
    "too deep": lambda text: text.replace(f'"{NOTE}"', "[" * 300 + "]" * 300).encode(),
    "a long number": lambda text: text.replace(f'"{NOTE}"', "1" * 5_000).encode(),
}
every_spelling = pytest.mark.parametrize("spelling", SPELLINGS)


def spec(**parts: Any) -> SourceSpec:
    return parse_spec({"name": "acme", "base_url": "http://wms.test", **PARTS, **parts}, "test")


def body_of(spelling: str, **envelope: Any) -> bytes:
    body = {"note": NOTE, "data": [{"note": NOTE}], **envelope}
    return SPELLINGS[spelling](json.dumps(body, ensure_ascii=False))


async def fetch(*replies: Reply) -> None:
    with scripted(*replies) as server:
        source = spec(base_url=server.url, auth={"kind": "none"}, pace={"requests_per_second": 10_000})
        reader = PageReader(source, "WH-01", Window.everything())
        async with SourceClient.open(source, None, sleep=no_sleep) as client:
            await client.fetch(client.build_request(RequestParts("GET", server.url, {}, {})), reader.read)


@pytest.mark.anyio
@every_spelling
async def test_an_error_in_the_body_is_reported(spelling: str) -> None:
    with pytest.raises(SourceMappingError, match="records.error_path.*quota exceeded"):
        await fetch(Reply(body=body_of(spelling, error="quota exceeded", data=[], total=0)))


@pytest.mark.anyio
@every_spelling
async def test_a_throttling_status_in_the_body_is_obeyed(spelling: str) -> None:
    body = body_of(spelling, status=429, error="slow down")
    with pytest.raises(SourceThrottledError, match="HTTP 429"):
        await fetch(Reply(body=body, headers={"Retry-After": "86400"}))


@pytest.mark.anyio
@every_spelling
@pytest.mark.parametrize("code", ["bad_token", 100])
async def test_an_error_that_means_a_wrong_token_is_reported(spelling: str, code: Any) -> None:
    with pytest.raises(SourceAuthError):
        await fetch(Reply(body=body_of(spelling, error="no", code=code)))


@every_spelling
def test_a_page_has_the_total_cursor_and_flag_of_its_body(spelling: str) -> None:
    reader = PageReader(spec(), "WH-01", Window.everything())
    page = reader.read(body_of(spelling, total="12", next=7, more="Y"))
    assert (len(page.records), page.total, page.following, page.more) == (1, 12, "7", True)


@every_spelling
@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"total": "many"}, "total.path total"),
        ({"total": True}, "total.path total"),
        ({"total": 1.5}, "total.path total"),
        ({"next": {"a": 1}}, "paging.cursor_path"),
        ({"more": "perhaps"}, "paging.more_path more"),
    ],
)
def test_a_value_that_is_not_understood_is_an_error(spelling: str, change: dict[str, Any], key: str) -> None:
    reader = PageReader(spec(), "WH-01", Window.everything())
    with pytest.raises(SourceMappingError, match=key):
        reader.read(body_of(spelling, **change))


@pytest.mark.parametrize("status", [400, 503])
def test_the_status_of_a_failed_response_needs_none_in_the_body(status: int) -> None:
    assert Envelope(spec()).read(b'{"status": "failed"}').status(status) == status


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"status": 200, "error": ""}', b"{}"])
def test_a_body_without_a_status_and_an_error_reports_none(body: bytes) -> None:
    fields = Envelope(spec()).read(body)
    assert (fields.status(200), fields.error, fields.is_auth_error) == (200, None, False)


@pytest.mark.parametrize("value", [True, 1, 15, 0.5, "true", "Y", "yes", "YES", " 3 ", "2.5"])
def test_a_clear_true_says_that_there_is_more(value: Any) -> None:
    assert read_flag(value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, "false", "False", "N", "no", "0", "0.0"])
def test_a_clear_false_says_that_there_is_no_more(value: Any) -> None:
    assert read_flag(value) is False


@given(st.text() | st.floats(max_value=0, exclude_max=True) | st.lists(st.integers()) | st.just(float("nan")))
def test_anything_else_is_neither(value: Any) -> None:
    try:
        read_flag(value)
    except ValueError:
        return
    assert str(value).strip().casefold() in {"true", "yes", "y", "false", "no", "n"} or float(value) >= 0


@pytest.mark.parametrize("value", [True, 1.5, "1_000", "1.0", "", -1, 10**13, None, [1], float("inf")])
def test_a_count_is_a_whole_number(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        checked_count(value)


@every_spelling
def test_a_count_is_read_like_a_page(spelling: str) -> None:
    assert read_count(spec(), body_of(spelling, total="12")) == 12
