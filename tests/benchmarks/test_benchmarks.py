"""The benchmarks' own reckoning: what counts as lost, and where a result goes. No peer runs here."""

from collections import Counter

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


def test_a_row_that_stood_and_is_missing_is_lost_in_silence() -> None:
    finding = assess(0, Counter({"a": 1}), {"a", "b"})
    assert finding.missing == 1 and finding.verdict == "**1 lost, in silence**"


def test_a_row_that_came_while_it_was_read_is_neither_lost_nor_twice() -> None:
    assert assess(0, Counter({"a": 1, "came": 1}), {"a"}).verdict == "whole"


def test_lost_and_twice_are_told_side_by_side() -> None:
    assert assess(0, Counter({"a": 3}), {"a", "b"}).verdict == "**1 lost, 2 twice, in silence**"


@pytest.mark.parametrize(
    ("kept", "verdict"), [({}, "refused aloud, nothing shown"), ({"a": 1}, "failed aloud, 1 rows left")]
)
def test_a_failed_reader_is_judged_by_what_it_left(kept: dict[str, int], verdict: str) -> None:
    assert assess(1, Counter(kept), {"a", "b"}).verdict == verdict


def test_a_section_takes_the_place_of_its_forerunner_alone() -> None:
    document = put_section(put_section(PREAMBLE, "one", "first\n"), "two", "second\n")
    again = put_section(document, "one", "anew \\1\n")
    assert "first" not in again and again.index("anew \\1") < again.index("second")
    assert put_section(again, "one", "anew \\1\n") == again


def test_a_table_sets_figures_to_the_right() -> None:
    table = Table("", ("reader", "rows"), [("a|b", 20_000), ("c", None)])
    assert render_table(table).splitlines()[1:] == ["| :-- | --: |", "| a\\|b | 20,000 |", "| c | - |"]


@pytest.mark.parametrize(("cell", "text"), [(0.12345, "0.123"), (1234.5, "1,234"), (7, "7"), (None, "-")])
def test_a_figure_has_three_digits_or_its_thousands_set_apart(cell: float | None, text: str) -> None:
    assert render_cell(cell) == text


def test_the_middle_of_some_runs_is_the_median_of_each_figure() -> None:
    cost = middle([Cost(1000, 3, 1), Cost(1000, 1, 2), Cost(1000, 2, 9)])
    assert (cost.wall, cost.cpu, cost.records_per_cpu_second) == (2, 2, 500)


def test_a_reader_twice_as_dear_is_worth_half_the_bare_one() -> None:
    compared = readers()
    costs = {tool: Cost(1000, 2, 1 if tool.name == "bare httpx" else 2) for tool in compared}
    flow = next(row for row in rows(costs, costs) if row[0] == "sku-velocity, the flow")
    told = dict(zip(COLUMNS, flow, strict=True))
    assert (told["of the bare reader's"], told["times dlt's"]) == (0.5, 1)


def mapping(tasks: int, cpu: float) -> MappingCost:
    return MappingCost(tasks, cpu, server_cpu=1, wall=1, behind=0, peak=100)


def test_a_further_task_bears_nothing_of_what_a_flow_run_costs_once() -> None:
    assert beyond_first(mapping(101, 1.5), mapping(1, 0.5)) == 10


@pytest.mark.parametrize(("cpu", "verdict"), [(10.0, "1/10.0: held"), (9.9, "1/9.9: **missed**")])
def test_mapping_is_to_take_a_tenth_of_the_thread_pools_cpu(cpu: float, verdict: str) -> None:
    assert verdict in mapping_aim({"event-loop": mapping(100, 1), "thread-pool": mapping(100, cpu)})


def test_a_target_that_is_missed_says_so() -> None:
    assert target("at most 3", "4", False) == "Target: at most 3. Found: 4: **missed**."


def test_a_ratio_is_to_be_reached_into_both_databases() -> None:
    assert aim("", {"SQLite": 10.0, "PostgreSQL": 9.5}, 10).endswith(
        "10 (SQLite), 9.5 (PostgreSQL): **missed**."
    )


def test_a_chunks_cost_holds_nothing_of_what_a_process_costs_once() -> None:
    def climb(after: float) -> Climb:
        return Climb(ChunkCost(after, wall=0, server=0), imports=500, cpu=800 + after)

    finding = assess_chunk([climb(100)], [climb(300)], chunks=100)
    assert (finding.per_chunk.cpu, finding.imports, finding.once) == (2, 500, 800 + 100 - 500 - 10 * 2)


@pytest.mark.parametrize(
    ("peak", "cpu", "verdicts"),
    [(250, 10, ("1.25 times: held", "1.00 times, at most: held")), (251, 11, ("**missed**", "**missed**"))],
)
def test_memory_is_to_stay_flat_and_a_record_to_cost_no_more(
    peak: float, cpu: float, verdicts: tuple[str, str]
) -> None:
    small, large = MemoryCost(100_000, 200, 1, 1, 1), MemoryCost(1_000_000, peak, cpu, 1, 1)
    assert all(
        verdict in told for verdict, told in zip(verdicts, memory_targets([small, large]), strict=True)
    )


def test_a_pace_that_is_not_reached_says_what_was_busy() -> None:
    told = pace_aim(Pace(200, 150, 160, 0, reader=0.97, source=0.3, lag=40))
    assert "0.750" in told and "the reader used 97% of a core" in told and "missed" in told


@pytest.mark.parametrize(("refused", "verdict"), [(0, "held"), (1, "**missed**")])
def test_a_ceiling_that_is_passed_is_missed(refused: int, verdict: str) -> None:
    assert pace_aim(Pace(20, 19.6, 20, refused, 0, 0, 0)).endswith(f"{verdict}.")
