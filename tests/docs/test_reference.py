"""docs/reference is what the code says, and every link and path in the documentation leads to a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.reference import DIRECTORY, PAGES, VARIABLES, page
from tests.support.checkout import CHECKOUT

TEXTS = [
    CHECKOUT / "README.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    *sorted((CHECKOUT / "deploy").glob("*.md")),
]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_the_code_says(name: str) -> None:
    assert (DIRECTORY / f"{name}.md").read_text() == page(name), "run `make reference`"


def test_each_variable_of_ours_is_listed() -> None:
    sources = [
        file for place in ("sku_velocity", "flows", "blocks") for file in (CHECKOUT / place).rglob("*.py")
    ]
    named = {name for file in sources for name in re.findall(r"SKU_VELOCITY_[A-Z_]+", file.read_text())}
    assert named and named <= VARIABLES.keys()


@pytest.mark.parametrize("text", TEXTS, ids=lambda file: file.relative_to(CHECKOUT).as_posix())
def test_every_link_and_path_leads_to_a_file(text: Path) -> None:
    content = text.read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", content)
    assert [link for link in links if not (text.parent / link).exists()] == []
    paths = re.findall(
        r"`((?:docs|deploy|benchmarks|tests|sku_velocity|flows|blocks|demo)/[\w./-]+\.\w+)`", content
    )
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (CHECKOUT / "docs" / "README.md").read_text()
    pages = {file.relative_to(CHECKOUT / "docs").as_posix() for file in (CHECKOUT / "docs").rglob("*.md")}
    assert {page for page in pages if f"({page})" not in index} == {"README.md"}
