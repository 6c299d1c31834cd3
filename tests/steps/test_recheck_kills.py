"""Rows come late, are corrected and deleted, and rechecks are killed: the store ends up as the source."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from sku_velocity.cli.executor import Executor
from tests.support.late_source import LateSource, published, serve_late
from tests.support.operations import recheck, sync
from tests.support.store_rows import hour

WINDOWS = 4
ROUNDS = 5
PATIENCE = 60.0  # seconds
STYLES = {"sqlite": ("offset", "cursor"), "postgresql": ("page", "next_link")}
# Each edit may delete most of a window.
FULL: dict[str, Any] = {"full": True, "accept_shrunk": True}


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fork processes off one that has imported everything, to avoid a start of Python per kill."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def recheck_all(source: str, store: str) -> None:
    """Recheck all windows in full. The body of a process that gets killed."""
    recheck(Executor(), source, store, token_env=None, **FULL)


def edit(served: LateSource, chance: random.Random) -> None:
    """Add, correct, move or delete a few random records."""
    for _ in range(chance.randint(1, 6)):
        names = list(served.records)
        match chance.choice(["late", "late", "corrected", "moved", "deleted", "invalid"]):
            case "late":
                served.add(hour(chance.uniform(0, WINDOWS)))
            case "corrected":
                served.correct(chance.choice(names), units_moved=chance.randint(0, 99))
            case "moved":
                served.correct(
                    chance.choice(names), timestamp_utc=hour(chance.uniform(0, WINDOWS)).isoformat()
                )
            case "deleted":
                served.delete(chance.choice(names))
            case "invalid":
                served.correct(chance.choice(names), units_moved="many")


def kill_one(
    processes: ForkServerContext, served: LateSource, source: str, store: str, chance: random.Random
) -> bool:
    """Start a recheck and kill it after a random number of requests. Return True if it was still running."""
    enough = served.requests + chance.randint(1, 30)
    process = processes.Process(target=recheck_all, args=(source, store))
    process.start()
    deadline = time.monotonic() + PATIENCE
    while served.requests < enough and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.02))
    process.kill()
    process.join()
    return process.exitcode == -9


@pytest.mark.parametrize("number", [0, 1])
def test_after_the_last_full_recheck_the_store_is_as_the_source(
    processes: ForkServerContext, tmp_path: Path, store_url: str, number: int
) -> None:
    style = STYLES["sqlite" if store_url.startswith("sqlite") else "postgresql"][number]
    chance, killed = random.Random(f"{style} {number}"), 0
    with serve_late(style=style, total=chance.random() < 0.5) as served:
        served.fill(0, WINDOWS, 60)
        source = served.write_spec(tmp_path)
        for start in range(WINDOWS):
            sync(Executor(), source, store_url, token_env=None, start=hour(start), end=hour(start + 1))
        for _ in range(ROUNDS):
            edit(served, chance)
            killed += kill_one(processes, served, source, store_url, chance)
            assert set(published(store_url).values()) <= {1}  # none twice
        edit(served, chance)
        recheck_all(source, store_url)
        assert published(store_url) == served.content
    assert killed > 0


def test_rechecks_and_a_sync_at_the_same_time_lose_and_double_nothing(
    processes: ForkServerContext, tmp_path: Path, store_url: str
) -> None:
    with serve_late() as served:
        served.fill(0, WINDOWS, 60)
        source = served.write_spec(tmp_path)
        for start in range(WINDOWS):
            sync(Executor(), source, store_url, token_env=None, start=hour(start), end=hour(start + 1))
        chance = random.Random(3)
        edit(served, chance)
        both = [processes.Process(target=recheck_all, args=(source, store_url)) for _ in range(2)]
        for process in both:
            process.start()
        window = {"start": hour(1), "end": hour(2), "accept_shrunk": True, "max_reject_ratio": 1}
        sync(Executor(), source, store_url, token_env=None, **window)
        for process in both:
            process.join()
        assert [process.exitcode for process in both] == [0, 0]
        assert published(store_url) == served.content
