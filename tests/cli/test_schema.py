"""The shipped JSON Schemas describe what the models accept. `make schema` runs this file, to write them."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator

from sku_velocity.cli.schema import SCHEMAS, Kind, spec_schema
from sku_velocity.errors import SpecError
from sku_velocity.source.presets import preset_names, with_preset
from sku_velocity.source.spec import parse_spec
from tests.support.checkout import CHECKOUT
from tests.support.commands import run

ACME = {"name": "acme", "base_url": "https://wms.example.com"}


SOURCE = Draft7Validator(spec_schema("source"))


def text_of(kind: Kind) -> str:
    return json.dumps(spec_schema(kind), indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_printed_schema_is_that_of_the_model(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema", kind) == 0
    printed = capsys.readouterr().out
    assert printed == text_of(kind), "run `make schema`"
    Draft7Validator.check_schema(json.loads(printed))


def test_the_source_schema_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0 and '"units_moved"' in capsys.readouterr().out
    assert run("schema", "sources") == 2


@pytest.mark.parametrize("name", preset_names())
def test_the_schema_accepts_each_preset(name: str) -> None:
    base = {"preset": name, "base_url": "https://wms.example.com"}
    assert SOURCE.is_valid(base) and SOURCE.is_valid(with_preset(base))


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ({"fields": {"sku_id": "item.sku", "movement_id": ["a", "b"]}}, True),
        ({"fields": {"units_moved": {"path": "qty", "factor": {"by": "uom", "values": {"EA": 1}}}}}, True),
        ({"fields": {"sku": "item.sku"}}, False),
        ({"fields": {"units_moved": {"path": "qty", "sign": "minus"}}}, False),
        ({"paging": {"style": "page", "in": "query", "first": 1}}, True),
        ({"paging": {"page_sise": 1}}, False),
        ({"filter": [{"path": "type", "in": ["pick", 261]}]}, True),
        ({"filter": {"path": "type"}}, False),
        ({"request": {"params": {"warehouse": {"warehouse": None}}}}, False),
        ({"name": "My WMS"}, False),
    ],
)
def test_the_schema_and_the_model_agree(change: dict[str, Any], is_valid: bool) -> None:
    assert SOURCE.is_valid(ACME | change) == is_valid
    try:
        parse_spec(ACME | change, "test")
    except SpecError:
        assert not is_valid
    else:
        assert is_valid


if __name__ == "__main__":
    for each in get_args(Kind):
        (CHECKOUT / "sku_velocity" / SCHEMAS[each].path).write_text(text_of(each), encoding="utf-8")
