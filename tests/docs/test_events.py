"""docs/events.md is correct: its tables are those of the code, and its commands and automations exist."""

from __future__ import annotations

import re
import types
from typing import Any, Union, get_args, get_origin

import pytest

from flows.artifacts.events import PAYLOADS, Payload
from flows.runtime.notifications import notifications
from sku_velocity.model.velocity_report import ClassChange
from tests.support.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "events.md").read_text()
NAMES = {"int": "integer", "str": "text", "bool": "boolean", "datetime": "instant", "NoneType": "null"}


def name_of(kind: Any) -> str:
    """Return the name of a type in the page."""
    if get_origin(kind) in (types.UnionType, Union):
        return " or ".join(map(name_of, get_args(kind)))
    if get_origin(kind) is list:
        return f"list of {name_of(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"map to {name_of(get_args(kind)[1])}"
    if kind is ClassChange:
        return "object"
    return NAMES.get(kind.__name__, "text" if issubclass(kind, str) else kind.__name__)


def section_of(payload: type[Payload]) -> str:
    """Return an event's section: its name, what has happened, and its payload's table."""
    rows = [
        f"| `{name}` | {name_of(field.annotation)} | {field.description} |"
        for name, field in payload.model_fields.items()
    ]
    head = [f"### `{payload.EVENT}`", "", (payload.__doc__ or "").strip(), ""]
    return "\n".join([*head, "| field | type | meaning |", "|---|---|---|", *rows, ""])


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.__name__)
def test_each_payload_is_listed_as_it_is_in_the_code(payload: type[Payload]) -> None:
    assert section_of(payload) in PAGE


def test_no_other_event_is_listed() -> None:
    assert re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE) == [payload.EVENT for payload in PAYLOADS]


def test_each_automation_is_listed() -> None:
    listed = re.findall(r"^\| `(sku-velocity: .+?)` \|", PAGE, re.MULTILINE)
    assert listed == [each.name for each in notifications(26)]
