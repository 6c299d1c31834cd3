"""The commands for dead letters: what they list, export and discard, and how they handle hostile text."""

from __future__ import annotations

import asyncio
import csv
import getpass
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sku_velocity.model.dead_letter import DeadLetterFilter, StoredDeadLetter
from sku_velocity.model.movement import DeadLetter, Reason
from sku_velocity.output.csv_text import escape_formula
from sku_velocity.steps.dead_letter_export import COLUMNS, Format, lines
from sku_velocity.store import Store
from tests.support.commands import run
from tests.support.dead_letters import dead_letter, land_run, ledger_of

# Markdown, HTML, a formula, rich markup, an emoji name, terminal control characters, a quote, a line break.
HOSTILE = '=1+1|[bold]b[/]<script>:smile:\x1b[31m\u202e\x9b2J",\r\n\x07\ud800'
WHY = (Reason("sku_id", f"must not be {HOSTILE}"),)
CONTROLS = set("\x1b\x07\x9b\u202e\x00")


def command(url: str, *words: str) -> int:
    return run("dead-letters", *words, "--store", url)


def fill(url: str) -> None:
    """Store a published run with two letters, a superseded one, and one that is not published."""

    async def work() -> None:
        async with Store.open(url) as store:
            await land_run(store, "old", {1: dead_letter(1)})
            await land_run(store, "new", {3: dead_letter(3), 12: DeadLetter(12, json.dumps([HOSTILE]), WHY)})
            await land_run(store, "other", {5: dead_letter(5)}, published=False, warehouse="=WH-02")

    asyncio.run(work())


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a store that is filled once, for tests that only read it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('letters')}/store.db"
    fill(url)
    return url


def stored(url: str, **criteria: Any) -> list[StoredDeadLetter]:
    async def work() -> list[StoredDeadLetter]:
        async with Store.open(url) as store:
            return await store.dead_letters.read(DeadLetterFilter(**criteria))

    return asyncio.run(work())


def listing(url: str, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[tuple[str, int]]]:
    """Return the run and position of each listed letter, published and unpublished."""
    capsys.readouterr()
    assert command(url, "list", "--json", *words) == 0
    report = json.loads(capsys.readouterr().out)
    return {kind: [(each["run"], each["position"]) for each in report[kind]["letters"]] for kind in report}


def test_letters_of_published_windows_are_listed_apart_from_the_others(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store_url)
    found = listing(store_url, capsys)
    assert found == {"published": [("new", 3), ("new", 12)], "unpublished": [("other", 5), ("old", 1)]}
    assert command(store_url, "list") == 0
    output = capsys.readouterr().out
    assert "2 open dead letters in published windows" in output
    assert "2 open dead letters in superseded or unpublished runs" in output


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--reason", "UNITS_MOVED: must be a whole"], [("new", 3)]),
        (["--reason", "</script>"], []),
        (["--reason", "must not be =1+1|[bold]"], [("new", 12)]),
        (["--reason", "\x1b[31m\u202e"], [("new", 12)]),
        (["--reason", "%"], []),
        (["--run", "new", "--source", "acme", "--warehouse", "WH-01"], [("new", 3), ("new", 12)]),
        (["--source", "nowhere"], []),
        (["--start", "2026-03-01T00:00:20Z"], []),
        (["--end", "2026-03-01T00:00:01Z"], [("new", 3), ("new", 12)]),
        (["--stage", "push"], []),
        (["--state", "discarded"], []),
        (["--limit", "1"], [("new", 3)]),
    ],
)
def test_a_filter_selects_the_matching_letters(
    filled: str, capsys: pytest.CaptureFixture[str], words: list[str], found: list[tuple[str, int]]
) -> None:
    assert listing(filled, capsys, *words)["published"] == found


def test_a_reason_matches_in_any_case_on_postgresql_too(
    postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(postgresql_url)
    found = listing(postgresql_url, capsys, "--reason", "MUST NOT BE =1+1|[bold]")
    assert found["published"] == [("new", 12)]


def test_a_discard_stores_user_time_and_note_and_the_record_counts_as_rejected(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store_url)
    assert command(store_url, "discard", "--run", "new", "--reason", "units", "--note", "test rig") == 0
    assert capsys.readouterr().out == "1 discarded\n"
    first, second = stored(store_url, run="new")
    assert first.state == "discarded" and first.change and second.state == "open"
    assert (first.change.by, first.change.note) == (getpass.getuser(), "test rig")
    assert asyncio.run(ledger_of(store_url, "new")) == (20, 18, 2, 0, 0)
    assert command(store_url, "discard", "--run", "new", "--note", "again", "--by", HOSTILE[:3]) == 0
    assert stored(store_url, run="new")[0] == first and stored(store_url, run="new")[1].state == "discarded"


def test_letters_are_listed_by_reason_with_their_number_and_a_sample(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with Store.open(sqlite_url) as store:
            units = (Reason("units_moved (qty.base)", "must be a whole number"),)
            records = ['{"qty": {"base": 1.5}}', '{"qty": {"base": 2.5}}', '{"qty": {"base": null}}']
            found = {number: DeadLetter(number, text, units) for number, text in enumerate(records)}
            await land_run(store, "run", found | {9: DeadLetter(9, "[1", (Reason("", "is broken"),))})

    asyncio.run(work())
    monkeypatch.setenv("COLUMNS", "200")
    assert command(sqlite_url, "list") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "│ 3 │ units_moved (qty.base): must be a whole number │ 1.5 │ run │ 0 │" in lines
    assert any("│ 1 │" in line and "│ [1 │ run │ 9 │" in line for line in lines)
    assert command(sqlite_url, "list", "--limit", "1") == 0
    assert "and 1 more for other reasons" in capsys.readouterr().out
    assert command(sqlite_url, "list", "--each") == 0
    assert capsys.readouterr().out.count("must be a whole number") == 3


def test_personal_data_is_redacted_in_matching_records_only(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        async with Store.open(store_url) as store:
            record = '{"user": {"name": "Jo"}, "lines": [{"by": "Jo", "n": 1}, {"n": 2}], "qty": 1}'
            for run_id in ("one", "two"):
                letters = {0: DeadLetter(0, record, WHY), 1: dead_letter(1), 2: DeadLetter(2, "{", WHY)}
                await land_run(store, run_id, letters)

    asyncio.run(work())
    words = ["redact", "--run", "one", "--path", "user.name", "--path", "lines.by"]
    assert [command(store_url, *words), command(store_url, *words)] == [0, 0]
    assert capsys.readouterr().out == "2 redacted\n0 redacted\n"
    first, other, broken = (each.letter.record_json for each in stored(store_url, run="one"))
    assert json.loads(first)["user"] == {"name": "(redacted)"} and "Jo" not in first
    assert json.loads(first)["lines"] == [{"by": "(redacted)", "n": 1}, {"n": 2}]
    assert broken == '"(redacted)"' and "redacted" not in other
    assert "Jo" in stored(store_url, run="two")[0].letter.record_json
    assert command(store_url, "redact", "--path", "user.name") == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["discard", "--note", "all of them"], "no filter is given"),
        (["discard", "--run", "new", "--note", " "], "--note is empty"),
        (["discard", "--run", "new"], "--note"),
        (["show", "new", "4"], "no dead letter of stage validation at position 4"),
        (["list", "--start", "2026-03-02T00:00:00Z", "--end", "2026-03-01T00:00:00Z"], "after its start"),
        (["list", "--state", "lost"], "--state"),
        (["export", "--to", "/nowhere/letters.csv"], "cannot be written"),
    ],
)
def test_bad_usage_exits_with_2_and_one_line(
    filled: str, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert command(filled, *words) == 2
    line = capsys.readouterr().err.strip()
    assert expected in line and "\n" not in line


def test_hostile_text_neither_controls_the_terminal_nor_renders_as_markup(
    filled: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert command(filled, "list") == 0
    assert command(filled, "show", "new", "12") == 0
    output = capsys.readouterr().out
    assert output.count("[bold]b[/]<script>:smile:") >= 3 and not CONTROLS & set(output)


def test_show_prints_the_exact_record_of_a_letter(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(store_url)
    assert command(store_url, "show", "new", "12", "--json") == 0
    output = capsys.readouterr().out
    assert output.isascii() and json.loads(output)["record_json"] == json.dumps([HOSTILE])


def export(url: str, path: Path, form: str) -> list[dict[str, Any]]:
    assert command(url, "export", "--format", form, "--to", str(path)) == 0
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if form == "csv" else [json.loads(line) for line in file]


def test_json_lines_hold_all_letters_exactly(store_url: str, tmp_path: Path) -> None:
    fill(store_url)
    found = export(store_url, tmp_path / "letters.jsonl", "jsonl")
    restored = [
        DeadLetter(
            each["position"],
            each["record_json"],
            tuple(Reason(why["field"], why["message"]) for why in each["reasons"]),
        )
        for each in found
    ]
    assert restored == [each.letter for each in stored(store_url)] and len(restored) == 4
    assert [(each["run"], each["is_published"], each["run_state"]) for each in found] == [
        ("other", False, "incomplete"),
        ("old", False, "superseded"),
        ("new", True, "published"),
        ("new", True, "published"),
    ]


def test_csv_is_restored_exactly_by_removing_the_leading_quotes(store_url: str, tmp_path: Path) -> None:
    fill(store_url)
    path = tmp_path / "letters.csv"
    found = export(store_url, path, "csv")
    assert [each["record_json"].removeprefix("'") for each in found] == [
        each.letter.record_json for each in stored(store_url)
    ]
    assert [each["warehouse"] for each in found] == ["'=WH-02", "WH-01", "WH-01", "WH-01"]
    assert path.read_bytes().startswith(",".join(COLUMNS).encode() + b"\r\n")
    assert not any(cell.startswith(("=", "+", "-", "@")) for each in found for cell in each.values())


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "'=1", "'", "=cmd|' /C calc'!A0"])
def test_a_formula_is_escaped_and_can_be_restored(cell: str) -> None:
    assert escape_formula(cell) == f"'{cell}" and escape_formula(cell)[1:] == cell
    assert escape_formula("a=1") == "a=1"


def test_an_export_to_standard_output_has_a_line_for_each_letter(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(filled, "export", "--format", "jsonl", "--run", "new", "--state", "open") == 0
    assert [json.loads(line)["position"] for line in capsys.readouterr().out.splitlines()] == [3, 12]


@pytest.mark.parametrize("form", Format)
@pytest.mark.anyio
async def test_an_export_holds_one_letter_at_a_time(form: Format, store_url: str) -> None:
    async with Store.open(store_url) as store:
        await land_run(store, "run", {n: dead_letter(n) for n in range(50)}, total=50)
        written: Sequence[str] = [
            line async for line in lines(store.dead_letters.stream(DeadLetterFilter(run="run"), 7), form)
        ]
    assert len(written) == 50 + (form is Format.CSV) and all(line.endswith("\n") for line in written)
