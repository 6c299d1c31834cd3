"""The long form of the faults, and the table that it ends on."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerContext

import pytest

from tests.chaos.fault_log import FaultLog

LOG = pytest.StashKey[FaultLog]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="try each fault as often and as long as it deserves")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes too long for every run of the tests")
    config.addinivalue_line("markers", "mounts: mounts a disk, as root alone may")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = set() if config.getoption("--long", default=False) else {"long"}
    left_out |= set() if os.geteuid() == 0 else {"mounts"}
    chosen = [item for item in items if left_out.isdisjoint(mark.name for mark in item.iter_markers())]
    if deselected := [item for item in items if item not in chosen]:
        config.hook.pytest_deselected(items=deselected)
        items[:] = chosen


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether each fault is tried in its long form; the short one is for every run of the tests."""
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
    """Forks processes off one that has imported everything: a kill costs no start of Python."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.windows"])
    return context
