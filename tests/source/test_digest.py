"""Each key of a spec is known to matter for the rows of a window and their proof, or not to."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from sku_velocity.source.digest import mapping_digest
from sku_velocity.source.item_fields import ItemsSpec
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.spec_file import Part

SPEC = parse_spec({"name": "acme", "base_url": "http://wms.test"}, "test")

# What is read, what a row becomes of it, or what proves that none is missing.
MATTERS = {
    "": "base_url items filter types extra",
    "request": "method path params headers body literals",
    "paging": "style place offset_param page_param page_counts limit_param cursor_param cursor_path "
    "next_path more_path range_header range_unit first proof",
    "total": "source path header request",
    "records": "path error_path auth_error_path auth_errors",
    "order": "params stable",
    "window": "params format timezone start_inclusive end_inclusive pad_seconds grain",
    "auth": "kind header prefix username token_url client_id scope client_auth values",  # whose view of it
    "throttle": "body_status_path",
    "fields": "movement_id sku_id warehouse_id units_moved timestamp_utc movement_type order_id location_id "
    "unit_of_measure direction",
}
# How fast, how safely or in what portions it is read, or what is done with the window once it is read.
DOES_NOT = {
    "": "name warehouses changes",
    "paging": "page_size max_page_size pages_per_chunk overlap stable",
    "limits": "max_reject_ratio max_rejects empty_is_normal require_proof",
    "tls": "ca_file verify",
    "pace": "requests_per_second max_concurrency burst shared_limit",
    "throttle": "statuses retry_after_headers",
    "timeouts": "connect read total keepalive_expiry max_page_bytes",
}


def named(table: dict[str, str]) -> set[tuple[str, str]]:
    return {(part, key) for part, keys in table.items() for key in keys.split()}


def all_keys() -> set[tuple[str, str]]:
    """Return the keys of a spec and of its parts."""
    keys = set()
    for name in SourceSpec.model_fields:
        part = getattr(SPEC, name)
        keys |= {(name, key) for key in type(part).model_fields} if isinstance(part, Part) else {("", name)}
    return keys


def digest_with_another(part: str, key: str) -> str:
    """Return the digest of a spec with another value of a key; it need not be valid."""
    other: dict[str, Any] = {key: "another"}
    if part:
        other = {part: getattr(SPEC, part).model_copy(update=other)}
    with warnings.catch_warnings(action="ignore"):  # of a value of another type
        return mapping_digest(SPEC.model_copy(update=other))


def test_a_mapped_field_of_an_item_changes_the_digest() -> None:
    items = SPEC.model_copy(update={"items": ItemsSpec()})
    fields = ("weight", "units_per_case", "units_per_pallet")
    mapped = [SPEC.model_copy(update={"items": ItemsSpec(**{name: {"path": "x"}})}) for name in fields]
    assert len({mapping_digest(spec) for spec in (items, *mapped)}) == 4


def test_each_key_of_a_spec_is_classified() -> None:
    assert named(MATTERS) | named(DOES_NOT) == all_keys()


@pytest.mark.parametrize(("part", "key"), sorted(named(MATTERS)))
def test_a_key_that_matters_changes_the_digest(part: str, key: str) -> None:
    assert digest_with_another(part, key) != mapping_digest(SPEC)


@pytest.mark.parametrize(("part", "key"), sorted(named(DOES_NOT)))
def test_a_key_that_does_not_matter_leaves_the_digest(part: str, key: str) -> None:
    assert digest_with_another(part, key) == mapping_digest(SPEC)


def digest_of(**parts: Any) -> str:
    return mapping_digest(parse_spec({"name": "acme", "base_url": "http://wms.test", **parts}, "test"))


@pytest.mark.parametrize(
    "parts",
    [
        {"types": {"pick": ["PICK"]}, "fields": {"movement_type": "type"}},
        {"types": {"pick": ["261"]}, "fields": {"movement_type": "type"}},
        {"types": {"ship": ["PICK"]}, "fields": {"movement_type": "type"}},
        {"fields": {"movement_type": "type"}},
        {"extra": {"lot": "lot_no"}},
        {"extra": {"batch": "lot_no"}},
        {"fields": {"sku_id": {"path": "sku_id", "case": "upper"}}},
        {"fields": {"sku_id": {"path": "sku_id", "pattern": "any"}}},
        {"fields": {"units_moved": {"path": "units_moved", "factor": 12}}},
        {"fields": {"units_moved": {"path": "units_moved", "factor": {"by": "uom", "values": {"EA": 12}}}}},
        {"fields": {"units_moved": {"path": "units_moved", "factor": {"by": "uom", "values": {"EA": 13}}}}},
        {"fields": {"units_moved": {"path": "units_moved", "rounding": "up"}}},
        {"fields": {"direction": {"path": "qty", "negative": "out"}}},
        {"fields": {"direction": {"path": "qty", "negative": "in"}}},
    ],
)
def test_each_setting_of_a_field_has_a_digest_of_its_own(parts: dict[str, Any]) -> None:
    digests[str(parts)] = digest_of(**parts)
    assert list(digests.values()).count(digests[str(parts)]) == 1
    assert digests[str(parts)] != mapping_digest(SPEC)


digests: dict[str, str] = {}


@pytest.mark.parametrize("factor", [12, 12.0, "12", "12.00", "1.2e1"])
def test_equal_factors_have_one_digest(factor: Any) -> None:
    plain = digest_of(fields={"units_moved": {"path": "units_moved", "factor": 12}})
    assert digest_of(fields={"units_moved": {"path": "units_moved", "factor": factor}}) == plain
