"""A source that fails in each known way: the run survives it, or reports why and can be resumed."""

from __future__ import annotations

import time

import pytest

from simulator.faults import Fault
from simulator.scenario import Scenario
from simulator.server import serve
from sku_velocity.errors import (
    SourceAddressError,
    SourceAuthError,
    SourceUnavailableError,
    UnreadableBodyError,
    VelocityError,
)
from tests.chaos.fault_log import FaultLog
from tests.chaos.truth import seen_content, true_content
from tests.chaos.windows import WindowRun
from tests.support.ports import free_port

TIMEOUTS = ("timeouts", {"connect": 2, "read": 0.5, "total": 1})
FAILING_OFFSET = 500  # its page fails until the fault is cleared
FAULTS = [
    ("500", SourceUnavailableError, "HTTP 500"),
    ("503", SourceUnavailableError, "HTTP 503"),
    ("429", SourceUnavailableError, "HTTP 429"),
    ("401", SourceAuthError, "token expired"),
    ("reset", SourceUnavailableError, "check base_url and that the source is up"),
    ("hangup", SourceUnavailableError, "disconnected without sending a response"),
    ("blackhole", SourceUnavailableError, "check base_url and that the source is up"),
    ("drip", SourceUnavailableError, "timeouts.total"),
    ("cut", UnreadableBodyError, "JSON"),
    ("html", UnreadableBodyError, "Sign in"),
]
SCENARIO = Scenario(records=1000, bad_ratio=0.02, seed=11)


def expect_error(run: WindowRun, kind: type[VelocityError], message: str) -> None:
    """Run a window that ends in this error, and check that the error names the source."""
    with pytest.raises((VelocityError, ExceptionGroup)) as caught:
        run.resume()
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, kind) and message in str(error) and "acme: " in str(error), error


@pytest.mark.parametrize(("kind", "error", "message"), FAULTS)
def test_a_lasting_fault_ends_the_run_and_the_next_run_resumes_it(
    kind: str, error: type[VelocityError], message: str, sqlite_url: str, fault_log: FaultLog
) -> None:
    fault = Fault(kind, FAILING_OFFSET - 1, seconds=3 if kind == "drip" else 0)
    with serve(Scenario(records=1000, bad_ratio=0.02, seed=11, faults=(fault,))) as server:
        run = WindowRun(server.url, sqlite_url, "run", (TIMEOUTS,))
        expect_error(run, error, message)
        assert seen_content(sqlite_url).total() == 0
        server.clear()
        started = time.monotonic()
        run.resume()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record(f"source: {kind} until fixed", truth, seen_content(sqlite_url), seconds)


@pytest.mark.parametrize("kind", ["500", "429", "reset", "hangup", "blackhole", "cut", "html"])
def test_a_run_survives_a_temporary_fault(kind: str, sqlite_url: str, fault_log: FaultLog) -> None:
    burst = Fault(kind, ratio=0.4, times=2, seconds=0)
    with serve(Scenario(records=1000, bad_ratio=0.02, seed=12, faults=(burst,))) as server:
        started = time.monotonic()
        WindowRun(server.url, sqlite_url, "run", (TIMEOUTS,)).resume()
        truth, seconds = true_content(server), time.monotonic() - started
        assert server.stats().faults[kind] >= 10
    fault_log.record(f"source: {kind}, twice on many pages", truth, seen_content(sqlite_url), seconds)


def test_a_run_resumes_when_an_unreachable_source_becomes_reachable(
    sqlite_url: str, fault_log: FaultLog
) -> None:
    port = free_port()
    run = WindowRun(f"http://127.0.0.1:{port}", sqlite_url, "run")
    expect_error(run, SourceUnavailableError, "check base_url and that the source is up")
    with serve(SCENARIO, port) as server:
        started = time.monotonic()
        run.resume()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("source: connection refused", truth, seen_content(sqlite_url), seconds)


def test_a_run_resumes_when_a_source_that_stopped_midway_is_back(
    sqlite_url: str, fault_log: FaultLog
) -> None:
    port = free_port()
    run = WindowRun(f"http://127.0.0.1:{port}", sqlite_url, "run")
    with serve(Scenario(records=1000, seed=11, faults=(Fault("401", FAILING_OFFSET - 1),)), port):
        expect_error(run, SourceAuthError, "token expired")
    expect_error(run, SourceUnavailableError, "that the source is up")
    with serve(Scenario(records=1000, seed=11), port) as server:
        started = time.monotonic()
        run.resume()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("source: stopped in the middle", truth, seen_content(sqlite_url), seconds)


def test_an_unknown_host_is_reported(sqlite_url: str, fault_log: FaultLog) -> None:
    expect_error(WindowRun("http://wms.invalid", sqlite_url, "run"), SourceAddressError, "wms.invalid")
    with serve(SCENARIO) as server:
        started = time.monotonic()
        WindowRun(server.url, sqlite_url, "run").resume()
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("source: no such host", truth, seen_content(sqlite_url), seconds)
