"""A spec file is plain data of a limited size."""

from __future__ import annotations

from pathlib import Path

import pytest

from sku_velocity.errors import SpecError
from sku_velocity.slotting.spec import load_engine
from sku_velocity.source.spec import load_spec
from sku_velocity.spec_file import MAX_BYTES, load_yaml

SPEC = "name: acme\nbase_url: https://wms.example.com\n"
LAUGHS = "a0: &a0 [1, 2, 3]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 30))


def written(directory: Path, text: str | bytes) -> Path:
    path = directory / "acme.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [id]", "!!python/name:os.system", "!!python/module:os", "!x {}"]
)
def test_a_spec_cannot_create_python_objects(tmp_path: Path, tag: str) -> None:
    with pytest.raises(SpecError, match=r"acme.yaml is not YAML: line 3, column 7: could not determine"):
        load_spec(written(tmp_path, f"{SPEC}pace: {tag}\n"))


@pytest.mark.parametrize("text", [LAUGHS, "a: &a [*a]", "a: &a {b: *a}"], ids=["laughs", "list", "mapping"])
def test_aliases_that_expand_too_far_are_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match="expands to over 100000 values: use fewer YAML aliases"):
        load_spec(written(tmp_path, text))


def test_a_small_alias_is_allowed(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, SPEC + "request: {headers: &p {sort: at}, params: *p}\n"))
    assert spec.request.headers == spec.request.params == {"sort": "at"}


def test_a_huge_file_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, SPEC)
    with path.open("r+b") as file:
        file.truncate(10**12)
    with pytest.raises(SpecError, match=rf"acme.yaml is over {MAX_BYTES} bytes"):
        load_spec(path)
    with pytest.raises(SpecError, match="/dev/zero is over"):
        load_yaml(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("{" * 100_000, "nested too deeply"),
        (f"name: {'9' * 5_000}", "an invalid character or number"),
        (b"name: \xff", "an invalid character or number"),
        ("name: a\x00b", "an invalid character or number"),
        ("name: 'a", "line 1, column 7: close the quotes"),
        ("? [a]\n: b", "line 1, column 3"),
    ],
)
def test_invalid_yaml_is_an_error_with_its_position(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(SpecError, match="acme.yaml is not YAML") as caught:
        load_spec(written(tmp_path, text))
    assert reason in str(caught.value)


def test_an_empty_file_is_not_a_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="it must contain keys such as name and base_url, and is empty"):
        load_spec(written(tmp_path, ""))


def test_scalars_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    text = "[NO, yes, on, 12:30:15, 2026-03-01, 2026-02-30, 1_000, '0123', true, ~, 0x1F, 0o17, 1e3]"
    expected = ["NO", "yes", "on", "12:30:15", "2026-03-01", "2026-02-30", "1_000", "0123"]
    assert load_yaml(written(tmp_path, text)) == [*expected, True, None, 31, 15, 1000.0]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("fields: {warehouse_id: {const: 0123}}", "line 3: fields.warehouse_id.const"),
        ("filter:\n  - path: type\n    in: [7, 007]", "line 5: filter.in"),
        ("pace: {burst: 01.5}", "line 3: pace.burst"),
        ("pace: {burst: !!int 01}", "line 3: pace.burst"),
        ("01: x", "line 3: 01"),
    ],
)
def test_an_unquoted_number_with_leading_zeros_is_an_error(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SpecError, match=f"acme.yaml: {place} has a number with leading zeros: put"):
        load_spec(written(tmp_path, SPEC + text))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("total: {from: none}\npace: {}\ntotal: {from: body}", "line 5: the key total"),
        ("filter: [{path: a, in: [1], in: [2]}]", "line 3: the key filter.in"),
        ("order: {params: {sort: a, 'sort': b}}", "line 3: the key order.params.sort"),
    ],
)
def test_a_key_given_twice_is_an_error(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SpecError, match=f"acme.yaml: {place} is given twice"):
        load_spec(written(tmp_path, SPEC + text))


def test_a_slotting_engine_is_read_by_the_same_rules(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"acme.yaml: line 3: the key name is given twice"):
        load_engine(written(tmp_path, f"{SPEC}name: other\n"))


def test_a_merged_mapping_may_be_overridden(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, SPEC + "request: {headers: &p {a: '1'}, params: {<<: *p, a: 2}}"))
    assert spec.request.params == {"a": 2}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("fields: {timestamp_utc: {path: at, assume_timezone: Europe/Berln}}", "assume_timezone"),
        ("window: {timezone: Europe/Berln}", "window.timezone"),
    ],
)
def test_an_unknown_time_zone_is_reported_with_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(
        SpecError,
        match=rf"acme.yaml is not .*{key}: .*did you mean Europe/Berlin\?",
    ):
        load_spec(written(tmp_path, SPEC + text))
