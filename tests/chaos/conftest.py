"""The option for the long form of the fault tests, and the table of results at its end."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerContext

import pytest

from tests.chaos.fault_log import FaultLog

LOG = pytest.StashKey[FaultLog]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the fault tests in their long form")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "mounts: mounts a disk, which requires root")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    excluded = set() if config.getoption("--long", default=False) else {"long"}
    excluded |= set() if os.geteuid() == 0 else {"mounts"}
    selected = [item for item in items if excluded.isdisjoint(mark.name for mark in item.iter_markers())]
    if deselected := [item for item in items if item not in selected]:
        config.hook.pytest_deselected(items=deselected)
        items[:] = selected


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether each fault is tested in its long form; the short form is for every test run."""
    return bool(pytestconfig.getoption("--long", default=False))


@pytest.fixture(scope="session")
def fault_log(pytestconfig: pytest.Config) -> FaultLog:
    return pytestconfig.stash.setdefault(LOG, FaultLog())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    log = config.stash.get(LOG, None)
    if log and config.getoption("--long", default=False):
        terminalreporter.section("faults")
        for line in log.table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Forks processes from one that has imported everything, so a kill costs no Python start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.windows"])
    return context
