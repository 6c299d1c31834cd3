"""A value that is put into another language's text is escaped for it, or refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest

from sku_velocity.errors import SpecError
from sku_velocity.model.window import Window
from sku_velocity.source.presets import preset_names
from sku_velocity.source.requests import RequestParts, Requests
from sku_velocity.source.spec import CountRequest, parse_spec

HOUR = Window(datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 9, tzinfo=UTC))
INJECTION = "x' OR '1'='1"
QUOTING = {
    "dynamics365": "odata",
    "erpnext": "json",
    "netsuite-suiteql": "sql",
    "sap-odata-v2": "odata",
    "sap-odata-v4": "odata",
}
ESCAPED = {"odata": "'O''H\"'", "sql": "'O''H\"'", "json": '"O\'H\\""'}
PRESETS = files("sku_velocity.source.presets")
REFUSING = ("oracle-fusion", "pocketbase")  # how they escape a quote is not documented


def page(warehouse: str, **request: Any) -> RequestParts:
    spec = parse_spec({"name": "acme", "base_url": "https://wms.example.com", "request": request}, "test")
    return Requests(spec, warehouse, HOUR).page(0, 10)


def filled(warehouse: str, text: str, literals: str | None = None) -> Any:
    return (page(warehouse, params={"q": text}, literals=literals).params or {})["q"]


@pytest.mark.parametrize(
    ("literals", "text", "warehouse", "expected"),
    [
        ("odata", "Plant eq '{warehouse}' and a eq 'H'", "O'Hare", "Plant eq 'O''Hare' and a eq 'H'"),
        ("odata", "Plant eq '{warehouse}'", 'a"b\\', "Plant eq 'a\"b\\'"),
        ("sql", "location = '{warehouse}'", INJECTION, "location = 'x'' OR ''1''=''1'"),
        ("sql", """'YYYY"T"HH' = '{warehouse}'""", "O'H", """'YYYY"T"HH' = 'O''H'"""),
        ("sql", """"{warehouse}" = 'it''s {warehouse}'""", """'"'""", """"'""'" = 'it''s ''"'''"""),
        ("json", '["w","{warehouse}","\\"{warehouse}"]', 'a"\\é', '["w","a\\"\\\\é","\\"a\\"\\\\é"]'),
        (None, "eq.{warehouse}", "O'Hare", "eq.O'Hare"),
        (None, "code='{warehouse}'", "WH-01 {start}", "code='WH-01 {start}'"),
        ("odata", "{warehouse}", "O'Hare", "O'Hare"),
        ("odata", "Plant eq {warehouse}", "7", "Plant eq 7"),
        ("odata", "Plant eq {warehouse:number}", "7", "Plant eq 7"),
        ("odata", "at ge {start}", "7", "at ge 2026-03-01T08:00:00Z"),
    ],
)
def test_a_placeholder_is_escaped_for_the_language_of_its_literal(
    literals: str | None, text: str, warehouse: str, expected: str
) -> None:
    assert filled(warehouse, text, literals) == expected


@pytest.mark.parametrize("warehouse", ["O'Hare", 'a"b', "a\\"])
@pytest.mark.parametrize("text", ["Plant eq '{warehouse}'", '["w", "{warehouse}"]'])
def test_a_quote_between_quotes_of_an_unnamed_language_is_refused(text: str, warehouse: str) -> None:
    with pytest.raises(SpecError, match=r"acme: request: the warehouse .*: set request.literals to the lang"):
        filled(warehouse, text)


@pytest.mark.parametrize("warehouse", ["1 or 1 eq 1", "WH-01", "1--"])
def test_a_warehouse_outside_the_quotes_of_an_expression_must_be_a_word(warehouse: str) -> None:
    with pytest.raises(SpecError, match=r"put quotes around \{warehouse\} in the spec"):
        filled(warehouse, "Plant eq {warehouse} and a eq 'H'", "odata")


def test_bodies_headers_paths_and_counts_are_escaped_too() -> None:
    text = "code = '{warehouse}'"
    request = {"method": "POST", "headers": {"X-Q": text}, "body": {"q": [text]}, "literals": "sql"}
    parts = page("O'H", path="/Plants('{warehouse}')", **request)
    assert parts.headers == {"X-Q": "code = 'O''H'"} and parts.body == {"q": ["code = 'O''H'"]}
    assert parts.url.endswith("/Plants('O%27%27H')")
    spec = parse_spec({"name": "acme", "base_url": "https://wms.example.com", "request": request}, "test")
    count = Requests(spec, "O'H", HOUR).count(CountRequest(params={"q": text}))
    assert count.params == {"q": "code = 'O''H'"}


def of_preset(name: str) -> str:
    auth = {"token_url": "https://login.example.com", "client_id": "us"} if name == "dynamics365" else {}
    spec = parse_spec({"preset": name, "base_url": "https://wms.example.com", "auth": auth}, "test")
    parts = Requests(spec, "O'H\"", HOUR).page(0, 10)
    return str(parts.params) + str(parts.body)


@pytest.mark.parametrize("name", QUOTING)
def test_presets_escape_the_warehouse(name: str) -> None:
    assert ESCAPED[QUOTING[name]] in of_preset(name).replace("\\\\", "\\").replace("\\'", "'")


@pytest.mark.parametrize("name", REFUSING)
def test_presets_of_systems_without_a_known_escape_refuse_a_quote(name: str) -> None:
    with pytest.raises(SpecError, match=r"set request.literals"):
        of_preset(name)


def test_each_preset_that_quotes_the_warehouse_is_among_them() -> None:
    quoted = re.compile(r"""(=|eq|,) ?['"]\{warehouse\}['"][^\]},]|"warehouse","=","\{warehouse""")
    texts = {name: PRESETS.joinpath(f"{name}.yaml").read_text() for name in preset_names()}
    assert {name for name, text in texts.items() if quoted.search(text)} == QUOTING.keys() | REFUSING
