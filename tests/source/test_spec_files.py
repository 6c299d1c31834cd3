"""A spec file is plain data, and no more of it than a description needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sku_velocity.errors import SpecError
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
def test_no_object_is_made_of_a_spec(tmp_path: Path, tag: str) -> None:
    with pytest.raises(SpecError, match=r"acme.yaml is not YAML: line 3, column 7: could not determine"):
        load_spec(written(tmp_path, f"{SPEC}pace: {tag}\n"))


@pytest.mark.parametrize("text", [LAUGHS, "a: &a [*a]", "a: &a {b: *a}"], ids=["laughs", "list", "mapping"])
def test_aliases_that_stand_for_too_much_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match="stands for over 100000 values: write out what its aliases repeat"):
        load_spec(written(tmp_path, text))


def test_an_alias_in_reason_is_read(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, SPEC + "order: {params: &p {sort: at}}\nrequest: {params: *p}\n"))
    assert spec.order.params == spec.request.params == {"sort": "at"}


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
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
        ("[" * 100_000, "nested too deep"),
        ("{" * 100_000, "nested too deep"),
        (f"name: {'9' * 5_000}", "no text, number or date"),
        ("name: 2026-02-30", "no text, number or date"),
        (b"name: \xff", "no text, number or date"),
        ("name: a\x00b", "no text, number or date"),
        ("name: 'a", "line 1, column 9"),
        ("? [a]\n: b", "line 1, column 3"),
    ],
)
def test_what_is_no_yaml_says_where(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(SpecError, match="acme.yaml is not YAML") as caught:
        load_spec(written(tmp_path, text))
    assert reason in str(caught.value)


def test_an_empty_file_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="it must hold keys such as name and base_url"):
        load_spec(written(tmp_path, ""))
