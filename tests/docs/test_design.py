"""docs/design.md names what is there."""

from __future__ import annotations

import re

import pytest

from tests.support.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "design.md").read_text()
PACKAGES = re.findall(r"^\| `([a-z_/]+)/` \| (.+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("package", "parts"), PACKAGES, ids=lambda text: text[:20])
def test_each_part_of_a_package_is_a_module_of_it(package: str, parts: str) -> None:
    for name in re.findall(r"`(\w+)`", parts):
        place = CHECKOUT / package / name
        assert place.with_suffix(".py").is_file() or place.is_dir(), name


def test_each_package_is_listed_and_each_named_file_exists() -> None:
    assert {package for package, _ in PACKAGES} >= {"flows", "blocks", "sku_velocity", "sku_velocity/store"}
    for path in re.findall(r"`([\w/]+\.py)`", PAGE):
        assert any((CHECKOUT / base / path).is_file() for base in ("", "sku_velocity")), path
