"""Artifacts are rendered from values, with hostile text escaped."""

import asyncio
from dataclasses import replace

import pytest
from prefect.client.schemas.actions import ArtifactCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.artifacts.display import PrefectDisplay
from flows.artifacts.markdown import escape
from flows.artifacts.sync_run import (
    render_chunk,
    render_push,
    render_report,
    render_table,
)
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState
from sku_velocity.model.movement import DeadLetter, Reason
from sku_velocity.model.run import Check, MasterVersion, PushReport, SyncRun, Verdict
from sku_velocity.model.window import Window
from sku_velocity.text import shorten
from tests.support.ports import free_port
from tests.support.reports import REPORT

RUN = SyncRun("0199", "acme", "WH-01", Window.everything(), 1000)
CHUNK = ChunkProgress(
    Chunk(12, 12_000, 1000, 1000),
    ChunkState.LANDED,
    next_offset=13_000,
    attempts=2,
    fetched=1000,
    loaded=990,
    rejected=9,
    trimmed=1,
    requests=3,
    retried=1,
    throttled=1,
    seconds=1.234,
)


@pytest.mark.parametrize(
    "hostile",
    [
        "[click](javascript:alert(1))",
        "<script>alert(1)</script>",
        "![x](http://127.0.0.1/x.png)",
        "a | b | c",
        "# heading",
        "`code`",
        "https://evil.test",
        "<https://evil.test>",
        "&lt;b&gt;",
        "**bold** _it_ ~~no~~",
    ],
)
def test_external_markup_is_escaped(hostile: str) -> None:
    shown = escape(hostile)
    assert not any(mark in shown.replace("\\" + mark, "") for mark in "[]()<>`*_|#!~:")
    assert "<" not in shown


def test_control_characters_and_line_ends_become_spaces() -> None:
    assert escape("a\r\nb\x1b[31mc\u202ed") == r"a b \[31mc d"


def test_a_truncated_text_states_its_length() -> None:
    assert shorten("x" * 5000, 10) == "xxxxxxxxxx… (5000 characters)"


def test_a_chunk_shows_its_counts_and_its_first_rejects_with_their_reasons() -> None:
    letter = DeadLetter(12_034, '{"sku_id": "a|b"}', (Reason("sku_id", "must be"), Reason("", "no object")))
    shown = render_chunk(CHUNK, [letter])
    assert "| Rejected | 9 |" in shown and "| Task attempts | 2 |" in shown and "| Throttled | 1 |" in shown
    row = shown.splitlines()[-1]
    assert row.startswith(r"| 12034 | sku\_id\: must be; no object |") and r"a\|b" in row


def test_a_chunk_without_rejects_has_no_reject_table() -> None:
    assert "rejects" not in render_chunk(CHUNK, [])


def test_a_run_has_a_row_per_chunk_those_that_failed_first() -> None:
    failed = ChunkProgress(Chunk(1, 0, 5, 5), ChunkState.FAILED, 0, error="HTTP 500 <b>" + "x" * 900)
    rows = render_table([CHUNK, failed])
    assert [row["positions"] for row in rows] == ["0-4", "12000-12999"]
    assert list(rows[0])[:4] == ["chunk", "positions", "state", "error"]
    assert rows[0]["state"] == "failed" and "<b>" not in rows[0]["error"] and len(rows[0]["error"]) < 400
    counts = [rows[1][name] for name in ("loaded", "rejected", "trimmed", "filtered")]
    assert sum(counts) == rows[1]["fetched"] and rows[1]["error"] == ""


def test_a_report_shows_the_verdict_the_proof_and_the_drift() -> None:
    shown = render_report(REPORT)
    assert "| Loop lag p99, ms | 7 |" in shown
    assert shown.startswith(r"# WH\-01 from acme: incomplete, nothing published")
    assert "| the total is unchanged | **no** | 1000 before, 1001 after |" in shown
    assert "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z" in shown
    assert "- colour: 7" in shown and "- lot" not in shown


def test_a_failed_report_begins_with_what_failed_and_the_next_step() -> None:
    failed = ChunkProgress(Chunk(1, 0, 5, 5), ChunkState.FAILED, 0, error="GET /m?offset=0: HTTP 500 <b>")
    broken = [Check("every chunk landed", False, "1 of 2 chunks landed")]
    report = REPORT.model_copy(update={"failed_chunks": [1], "chunks": 2, "checks": broken})
    shown = render_report(report, [CHUNK, failed])
    assert shown.index("## What failed") < shown.index("## Next step") < shown.index("| Records |")
    assert f"| 1 | 0-4 | {escape(failed.error or '')} |" in shown and shown.count("HTTP 500") == 1
    assert "no page that has landed" in shown and f"prefect flow-run retry {REPORT.flow_run_id}" in shown
    assert "--resume 0199" in shown


def test_a_published_report_has_no_next_step() -> None:
    published = REPORT.model_copy(update={"verdict": Verdict.COMPLETE, "published": True, "checks": []})
    assert "## " not in render_report(published, [CHUNK])


def test_a_report_shows_a_gap_in_its_proof_and_a_warning() -> None:
    gap = Check("the order is declared", None, "set order.params", is_gap=True)
    unproven = REPORT.model_copy(
        update={
            "verdict": Verdict.UNPROVEN,
            "published": True,
            "checks": [gap],
            "warnings": ["exactly 10000 records"],
        }
    )
    shown = render_report(unproven)
    assert "unproven, published" in shown and "**not provable**" in shown and "exactly 10000" in shown


def test_a_report_names_the_master_version_that_mapped_it() -> None:
    version = MasterVersion(source="erp", version="0198")
    shown = render_report(REPORT.model_copy(update={"master": version, "unknown_skus": 3}))
    assert "SKUs mapped by the master erp, version `0198`: 3 unknown to it" in shown


def test_prefect_accepts_the_artifact_keys() -> None:
    for name in ("chunks", "summary", "progress"):
        assert ArtifactCreate(key=f"{REPORT.source}-{name}").key


def test_a_push_shows_what_was_accepted_and_why_chunks_failed() -> None:
    errors = ["3 (300-399): slots: HTTP 401; it says: <b>who?</b>"]
    report = PushReport(
        engine="slots", chunks=10, failed_chunks=[3], accepted=880, rejected=20, requests=12, errors=errors
    )
    shown = render_push(replace(RUN, warehouse="<b>WH</b>"), report)
    assert "9 of 10 chunks" in shown and "| Accepted | 880 |" in shown and "HTTP 401" in shown
    assert "<b>" not in shown and "Retry pushes only what is left" in shown


@pytest.mark.filterwarnings("ignore:Artifact creation outside:FutureWarning")  # this test needs no run
def test_an_artifact_that_prefect_does_not_accept_fails_nothing() -> None:
    async def show() -> None:
        display = PrefectDisplay()
        await display.show_chunk(CHUNK, [])
        await display.show_window(REPORT, [CHUNK])
        await display.show_progress(RUN, 0, 1)
        await display.show_progress(RUN, 1, 1, is_last=True)

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        asyncio.run(show())
