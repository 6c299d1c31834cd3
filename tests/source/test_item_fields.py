"""The ids and aliases of a master's items, in the letter case and by the pattern of their spec."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sku_velocity.errors import SpecError
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.validation import PageReader

ANY_UPPER = {"case": "upper", "strip": True, "pattern": "any"}


def validate(item: dict[str, Any], **items: Any) -> PageResult:
    spec = parse_spec({"name": "erp", "base_url": "http://erp.test", "items": items}, "erp.yaml")
    reader = PageReader(spec, NO_WAREHOUSE, Window.everything())
    return reader.validate(reader.read(json.dumps([{"status": "active", **item}]).encode()), Page(0, 1))


@pytest.mark.parametrize(
    ("sku", "names", "settings", "sku_stored", "stored"),
    [
        (" ab/1 ", [" x ", "X", "ab/1", "y"], ANY_UPPER, "AB/1", ("X", "Y")),
        ("A-1", ["b c", "B C"], {}, "A-1", ("b c", "B C")),
        ("A-1", [" b "], {"strip": True}, "A-1", ("b",)),
        ("A-1", [7], {"pattern": "[0-9]"}, None, None),
    ],
)
def test_ids_and_aliases_are_read_with_the_same_settings(
    sku: str, names: list[Any], settings: dict[str, Any], sku_stored: str | None, stored: Any
) -> None:
    aliases = {"path": "names", **settings}
    result = validate({"sku_id": sku, "names": names}, sku_id={"path": "sku_id", **settings}, aliases=aliases)
    if sku_stored is None:
        assert "must match [0-9]" in str(result.dead_letters[0].reasons[0])
    else:
        (row,) = result.items
        assert (row.sku_id, row.aliases) == (sku_stored, stored)


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["a", "B"], {"pattern": "[A-Z]"}, "aliases (names): each name must match [A-Z]"),
        (["a\nb"], {"pattern": "any"}, "aliases (names): each name must be printable"),
        (["x" * 256], {"pattern": "any"}, "each name must be printable"),
    ],
)
def test_an_item_with_an_alias_that_breaks_the_pattern_is_rejected(
    names: list[str], settings: dict[str, Any], message: str
) -> None:
    result = validate({"sku_id": "A-1", "names": names}, aliases={"path": "names", **settings})
    assert message in "; ".join(map(str, result.dead_letters[0].reasons))


def test_a_pattern_of_aliases_that_is_no_regular_expression_is_a_wrong_spec() -> None:
    with pytest.raises(SpecError, match=r"items.aliases.pattern: .* is not a regular expression"):
        validate({}, aliases={"path": "names", "pattern": "("})
