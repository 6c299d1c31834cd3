"""docs/architecture.md names what is there."""

from __future__ import annotations

import re

import pytest

from tests.support.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "architecture.md").read_text()
ROOMS = re.findall(r"^\| `([a-z_/]+)/` \| (.+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("room", "parts"), ROOMS, ids=lambda text: text[:20])
def test_each_part_of_a_room_is_a_module_of_it(room: str, parts: str) -> None:
    for name in re.findall(r"`(\w+)`", parts):
        place = CHECKOUT / room / name
        assert place.with_suffix(".py").is_file() or place.is_dir(), name


def test_each_room_of_the_house_is_told_and_each_file_named_is_there() -> None:
    assert {room for room, _ in ROOMS} >= {"flows", "blocks", "sku_velocity", "sku_velocity/store"}
    for path in re.findall(r"`([\w/]+\.py)`", PAGE):
        assert any((CHECKOUT / base / path).is_file() for base in ("", "sku_velocity")), path
