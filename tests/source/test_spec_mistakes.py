"""Typical mistakes in a spec: each has a message with its line, its key and what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sku_velocity.errors import SpecError
from sku_velocity.slotting.spec import load_engine
from sku_velocity.source.spec import load_spec

BASE = "name: acme\nbase_url: https://wms.example.com\n"
MISTAKES = yaml.safe_load(Path(__file__).with_name("mistakes.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("acme.yaml")


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case["mistake"])
def test_a_typical_mistake_is_explained(case: dict[str, Any], acme: Path) -> None:
    acme.write_text(case.get("whole") or BASE + case["file"])
    with pytest.raises(SpecError) as caught:
        load_spec(acme)
    assert str(caught.value) == case["message"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 100", "engine: line 3: batchsize: unknown key: did you mean batch_size?"),
        ("velocity_fields: [abc_unit]", "or completeness_91: did you mean abc_units?"),
        ("token: x", "line 3: token: a spec never contains a secret"),
        ("pace: 5", "line 3: pace: must be a map of keys (key: value), not a number, as in pace: {req"),
    ],
)
def test_a_mistake_in_an_engines_file_is_explained(text: str, message: str, acme: Path) -> None:
    acme.write_text(BASE + text)
    with pytest.raises(SpecError) as caught:
        load_engine(acme)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["token: s3cret", "auth: s3cret", "auth: {kind: s3cret}", "pace: {burst: s3cret}", "total: [s3cret]"],
)
def test_a_value_is_never_quoted(text: str, acme: Path) -> None:
    acme.write_text(BASE + text)
    with pytest.raises(SpecError) as caught:
        load_spec(acme)
    assert "s3cret" not in str(caught.value)
