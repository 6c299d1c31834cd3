"""The commands of the documentation, and the API that its examples describe."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from simulator.dialect import Dialect, JsonAnswer, OffsetQuery
from tests.support.checkout import CHECKOUT

PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCHEDULE = re.compile(r"(?:[\d*/]+ ){5}")
PROGRAMS = {".venv/bin/python": "python", ".venv/bin/prefect": "prefect"}
OPERATORS = re.compile(r"[;|&]+")
REDIRECTION = re.compile(r"[<>]+")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*", re.DOTALL)

# The API of acme in the README, in docs/quickstart.md and on other pages.
ACME = Dialect(
    query=OffsetQuery(start_param="from", end_param="to"),
    answer=JsonAnswer("data", "total"),
    path="/api/movements",
    fields={
        "movement_id": "id",
        "sku_id": "item.code",
        "warehouse_id": "site",
        "units_moved": "quantity",
        "timestamp_utc": "moved_at",
    },
)


@dataclass(frozen=True)
class DocCommand:
    """A command as a page has it, and its words without variables and redirections."""

    page: str
    line: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def text_of(page: str) -> str:
    return re.sub(r"<!--.*?-->", "", (CHECKOUT / page).read_text(), flags=re.DOTALL)


def yaml_of(page: str, name: str) -> str:
    """Return the spec of this name that a page has."""
    specs = [body for language, body in FENCE.findall(text_of(page)) if language == "yaml"]
    [found] = [each for each in specs if (yaml.safe_load(each) or {}).get("name") == name]
    return str(found)


def shown_commands() -> list[DocCommand]:
    """Return the commands in the pages' code blocks, and in their crontabs."""
    return [command for page in names() for line in _lines_of(page) for command in _split(page, line)]


def named_commands() -> list[DocCommand]:
    """Return the commands in the pages' running text: those with more than the program's name."""
    starts = ("sku-velocity ", "python -m ", ".venv/bin/", "prefect ", "make ", "pipx ")
    return [
        command
        for page in names()
        for code in re.findall(r"`([^`]+)`", FENCE.sub("", text_of(page)))
        if code.startswith(starts)
        for command in _split(page, " ".join(code.split()))
        if len(command.words) > 1 and command.words[1:] not in (("-m", "flows"), ("-m", "sku_velocity"))
    ]


def names() -> list[str]:
    return [str(page.relative_to(CHECKOUT)) for page in PAGES]


def _lines_of(page: str) -> Iterator[str]:
    for language, body in FENCE.findall(text_of(page)):
        lines = body.replace("\\\n", " ").splitlines()
        if language == "console":
            yield from (line[2:] for line in lines if line.startswith("$ "))
        elif language == "sh":
            yield from lines
        else:
            yield from (line[match.end() :] for line in lines if (match := SCHEDULE.match(line)))


def _split(page: str, line: str) -> Iterator[DocCommand]:
    """Yield the commands of a line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not OPERATORS.fullmatch(word):
            words.append(word)
        elif words := _without_shell(words):
            yield DocCommand(page, line, tuple(words))
            words = []


def _without_shell(words: list[str]) -> list[str]:
    while words and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if not (REDIRECTION.fullmatch(word) or REDIRECTION.fullmatch(before)):
            kept.append(PROGRAMS.get(word, word))
    return kept
