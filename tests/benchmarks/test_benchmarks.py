"""The calculations of the benchmarks: what counts as lost, and where a result goes. No peer runs here."""

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.chunk import Climb
from benchmarks.chunk import Cost as ChunkCost
from benchmarks.chunk import assess as assess_chunk
from benchmarks.end_to_end import COLUMNS, aim, readers, rows
from benchmarks.mapping import Cost as MappingCost
from benchmarks.mapping import aim as mapping_aim
from benchmarks.mapping import beyond_first
from benchmarks.memory import Cost as MemoryCost
from benchmarks.memory import targets as memory_targets
from benchmarks.pace import Pace
from benchmarks.pace import aim as pace_aim
from benchmarks.reading import Cost, middle
from benchmarks.report import PREAMBLE, Table, put_section, render_cell, render_table, target
from benchmarks.traps import assess
from benchmarks.traps import readers as trapped


def test_a_row_that_stayed_and_is_missing_is_lost_in_silence() -> None:
    finding = assess(0, Counter({"a": 1}), {"a", "b"})
    assert finding.missing == 1 and finding.verdict == "**1 lost, in silence**"


def test_a_row_inserted_during_the_read_is_neither_lost_nor_duplicate() -> None:
    assert assess(0, Counter({"a": 1, "came": 1}), {"a"}).verdict == "whole"


def test_lost_and_duplicate_rows_are_reported_together() -> None:
    assert assess(0, Counter({"a": 3}), {"a", "b"}).verdict == "**1 lost, 2 twice, in silence**"


def test_a_row_lost_by_an_unproven_reading_is_not_lost_in_silence() -> None:
    finding = replace(assess(0, Counter({"a": 1}), {"a", "b"}), unproven=True)
    assert finding.verdict == "1 lost, reported as unproven"


def test_ours_is_trapped_in_each_of_its_paging_styles() -> None:
    styles = {tool.paging for tool in trapped() if tool.name.startswith("sku-velocity")}
    assert styles == {"offset", "page number", "page of a fixed size", "cursor", "next link"}


@pytest.mark.parametrize(
    ("stored", "verdict"), [({}, "refused aloud, nothing shown"), ({"a": 1}, "failed aloud, 1 rows left")]
)
def test_a_failed_reader_is_judged_by_what_it_stored(stored: dict[str, int], verdict: str) -> None:
    assert assess(1, Counter(stored), {"a", "b"}).verdict == verdict


def test_a_section_replaces_only_its_predecessor() -> None:
    document = put_section(put_section(PREAMBLE, "one", "first\n"), "two", "second\n")
    again = put_section(document, "one", "again \\1\n")
    assert "first" not in again and again.index("again \\1") < again.index("second")
    assert put_section(again, "one", "again \\1\n") == again


def test_a_table_aligns_figures_right() -> None:
    table = Table("", ("reader", "rows"), [("a|b", 20_000), ("c", None)])
    assert render_table(table).splitlines()[1:] == ["| :-- | --: |", "| a\\|b | 20,000 |", "| c | - |"]


@pytest.mark.parametrize(("cell", "text"), [(0.12345, "0.123"), (1234.5, "1,234"), (7, "7"), (None, "-")])
def test_a_figure_has_three_digits_or_thousands_separators(cell: float | None, text: str) -> None:
    assert render_cell(cell) == text


def test_the_middle_of_several_runs_is_the_median_of_each_figure() -> None:
    cost = middle([Cost(1000, 3, 1), Cost(1000, 1, 2), Cost(1000, 2, 9)])
    assert (cost.wall, cost.cpu, cost.records_per_cpu_second) == (2, 2, 500)


def test_a_reader_at_twice_the_cost_reaches_half_the_bare_one() -> None:
    compared = readers()
    costs = {tool: Cost(1000, 2, 1 if tool.name == "bare httpx" else 2) for tool in compared}
    flow = next(row for row in rows(costs, costs) if row[0] == "sku-velocity, the flow")
    cells = dict(zip(COLUMNS, flow, strict=True))
    assert (cells["of the bare reader's"], cells["times dlt's"]) == (0.5, 1)


def mapping(tasks: int, cpu: float) -> MappingCost:
    return MappingCost(tasks, cpu, server_cpu=1, wall=1, behind=0, peak=100)


def test_the_cost_of_a_further_task_excludes_the_fixed_cost_of_a_flow_run() -> None:
    assert beyond_first(mapping(101, 1.5), mapping(1, 0.5)) == 10


@pytest.mark.parametrize(("cpu", "verdict"), [(10.0, "1/10.0: held"), (9.9, "1/9.9: **missed**")])
def test_the_target_of_mapping_is_a_tenth_of_the_thread_pools_cpu(cpu: float, verdict: str) -> None:
    assert verdict in mapping_aim({"event-loop": mapping(100, 1), "thread-pool": mapping(100, cpu)})


def test_a_missed_target_says_so() -> None:
    assert target("at most 3", "4", False) == "Target: at most 3. Found: 4: **missed**."


def test_a_target_must_be_met_on_both_databases() -> None:
    assert aim("", {"SQLite": 10.0, "PostgreSQL": 9.5}, 10).endswith(
        "10 (SQLite), 9.5 (PostgreSQL): **missed**."
    )


def test_the_cost_of_a_chunk_excludes_the_fixed_cost_of_a_process() -> None:
    def climb(after: float) -> Climb:
        return Climb(ChunkCost(after, wall=0, server=0), imports=500, cpu=800 + after)

    finding = assess_chunk([climb(100)], [climb(300)], chunks=100)
    assert (finding.per_chunk.cpu, finding.imports, finding.once) == (2, 500, 800 + 100 - 500 - 10 * 2)


@pytest.mark.parametrize(
    ("peak", "cpu", "verdicts"),
    [(220, 10, ("1.10 times: held", "1.00 times, at most: held")), (221, 11, ("**missed**", "**missed**"))],
)
def test_memory_must_stay_flat_and_a_record_must_not_cost_more(
    peak: float, cpu: float, verdicts: tuple[str, str]
) -> None:
    small, large = MemoryCost(100_000, 200, 1, 1, 1), MemoryCost(1_000_000, peak, cpu, 1, 1)
    assert all(
        verdict in note for verdict, note in zip(verdicts, memory_targets([small, large]), strict=True)
    )


def test_a_missed_pace_says_what_was_busy() -> None:
    note = pace_aim(Pace(200, 150, 160, 0, reader=0.97, source=0.3, lag=40))
    assert "0.750" in note and "the reader used 97% of a core" in note and "missed" in note


@pytest.mark.parametrize(("refused", "verdict"), [(0, "held"), (1, "**missed**")])
def test_an_exceeded_ceiling_is_a_miss(refused: int, verdict: str) -> None:
    assert pace_aim(Pace(20, 19.6, 20, refused, 0, 0, 0)).endswith(f"{verdict}.")
