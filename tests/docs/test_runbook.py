"""docs/runbook.md is correct: each command in it runs, and each section that it links to exists.

The commands of other pages that run a flow once, or save a block, run here too.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from flows.command_line import main
from simulator.faults import Fault
from simulator.items import make_items
from simulator.scenario import Scenario
from simulator.server import EngineServer, Server, serve, serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.cli.executor import Stopped
from sku_velocity.cli.terminal import stop_message
from sku_velocity.http.tls import explain_certificate_error
from tests.support.acme import TOKEN, spec_of
from tests.support.acme_flow import sync
from tests.support.checkout import CHECKOUT
from tests.support.doc_commands import shown_commands
from tests.support.engine import ENGINE_TOKEN
from tests.support.ports import free_port
from tests.support.prefect_server import PrefectServer

RUNBOOK = CHECKOUT / "docs" / "runbook.md"
PAGE = re.sub(r"<!--.*?-->", "", RUNBOOK.read_text(), flags=re.DOTALL)
TEXT = " ".join(PAGE.split())
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
OF_BACKUP = (
    "$ mkdir ",
    "$ find ",
    "$ cp ",
    "$ pg_dump ",
    "$ psql ",
    "$ pg_restore ",
)  # test_backup runs them
COMMANDS = list(dict.fromkeys(line.removeprefix("$ ") for line in LINES if not line.startswith(OF_BACKUP)))
PYTHON = ".venv/bin/python"
OTHERS = [
    command.words
    for command in dict.fromkeys(shown_commands())
    if command.page != "docs/runbook.md"
    and command.words[:3] == ("python", "-m", "flows")
    and command.words[3] in ("sync", "sync-master", "save-source", "save-engine")
]
# Other tests use blocks with the names in the runbook.
BLOCK_NAMES = {name: f"runbook-{name}" for name in ("wms", "erp", "slots", "velocity")}
WMS, ERP, SLOTS, VELOCITY = BLOCK_NAMES.values()
DAY = {"start": "2026-03-04T00:00:00Z", "end": "2026-03-05T00:00:00Z"}


@dataclass(frozen=True)
class Setting:
    """A WMS and ERP, a slotting engine, their blocks, and the Prefect server that stores the blocks."""

    server: Server
    engine: EngineServer
    environment: dict[str, str]

    def run(self, command: str) -> int:
        """Run a command of the runbook and return its exit code. Raise ValueError if it is unknown."""
        words = [BLOCK_NAMES.get(word, word) for word in shlex.split(command)]
        if "RUN" in words:
            words = [self._broken_run(words) if word == "RUN" else word for word in words]
        match words:
            case [".venv/bin/python", "-m", "flows", *rest]:
                return main(rest)
            case [".venv/bin/prefect", *rest]:
                return self._start("-m", "prefect", *rest)
            case [".venv/bin/python", "-c", _] if 'execute("VACUUM' in command:
                return self._start(*words[1:])
        raise ValueError(f"the runbook's test does not know how to run: {command}")

    def run_of_another_page(self, words: Sequence[str]) -> int:
        """Run a command that names the spec of acme, or its block, or a bucket."""
        names = BLOCK_NAMES | {"acme": WMS, "acme.yaml": "wms.yaml", "s3://bucket/movements": "exported"}
        # The name of a master is that in its spec.
        rest = [
            word if before == "--master" else names.get(word, word) for before, word in pairwise(words[2:])
        ]
        self.server.play(replace(self.server.simulator.scenario, start=datetime.now(UTC) - timedelta(days=3)))
        return main(rest)

    def _start(self, *words: str) -> int:
        return subprocess.run([sys.executable, *words], env=self.environment).returncode

    def _broken_run(self, words: list[str]) -> str:
        if words[0].endswith("prefect"):
            return stuck_run()
        if "--push" in words:
            self.engine.play(EngineScenario(token=ENGINE_TOKEN, faults=(Fault("401", 0, times=1),)))
            state, report = self.sync(push=SLOTS)
            assert state.name == "PushFailed"
        else:
            state, report = self.sync(Fault("401", 99, times=1))
            assert state.name == "Incomplete"
        run: str = report.run_id
        return run

    def sync(self, *faults: Fault, **parameters: Any) -> Any:
        """Read a day of the WMS with these faults; return the final state and the result."""
        scenario = replace(self.server.simulator.scenario, faults=faults)
        if "push" in parameters:  # other records, or nothing would be left to push
            scenario = replace(scenario, seed=scenario.seed + 1)
        self.server.play(scenario)
        return sync(WMS, VELOCITY, token_env=None, **DAY, **parameters)


def stuck_run() -> str:
    """Create a run that Prefect considers running; return its id."""

    @flow(name="sku-velocity-sync")
    async def never_ends() -> None:
        pass

    async def create() -> str:
        async with get_client() as client:
            return str((await client.create_flow_run(never_ends, state=Running())).id)

    return asyncio.run(create())


def write_specs(server: Server, engine: EngineServer, directory: Path) -> None:
    window = {"window": {"params": {"start": "start", "end": "end"}}}
    movements: dict[str, Any] = spec_of(server) | window
    items = {key: value for key, value in movements.items() if key not in ("fields", "window")}
    items |= {"name": "erp", "request": {"path": "/items"}, "items": {"aliases": "aliases"}}
    slots = {"name": "slots", "base_url": engine.url, "pace": {"requests_per_second": 200}}
    for name, spec in (("wms", movements), ("erp", items), ("slots", slots)):
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(spec))


@pytest.fixture(scope="module")
def setting(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    directory = tmp_path_factory.mktemp("operator")
    scenario = Scenario(token=TOKEN, bad_ratio=0.02, skus=20, items=make_items(20))
    with (
        pytest.MonkeyPatch.context() as patch,
        serve(scenario) as server,
        serve_engine(EngineScenario(token=ENGINE_TOKEN)) as engine,
    ):
        write_specs(server, engine, directory)
        patch.chdir(directory)
        for variable in ("WMS_TOKEN", "ACME_TOKEN"):
            patch.setenv(variable, TOKEN)
        for variable in ("SKU_VELOCITY_ENGINE_TOKEN", "SLOTS_TOKEN"):
            patch.setenv(variable, ENGINE_TOKEN)
        patch.setenv("SKU_VELOCITY_STORE", "sqlite:///sku-velocity.db")
        for block, spec in ((WMS, "wms.yaml"), (ERP, "erp.yaml")):
            assert main(["save-source", block, "--spec", spec, "--token-env", "WMS_TOKEN"]) == 0
        assert main(["save-engine", SLOTS, "--spec", "slots.yaml"]) == 0
        assert main(["save-store", VELOCITY]) == 0
        yield Setting(server, engine, os.environ | prefect_server.environment)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.removeprefix(f"{PYTHON} -m ")[:60])
def test_each_command_of_the_runbook_runs(setting: Setting, command: str) -> None:
    assert setting.run(command) == 0


@pytest.mark.parametrize("words", OTHERS, ids=lambda words: " ".join(words[3:])[:60])
def test_the_commands_of_other_pages_run(setting: Setting, words: Sequence[str]) -> None:
    before = setting.server.simulator.scenario
    assert setting.run_of_another_page(words) == 0
    setting.server.play(before)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("401@99x1", "chunks failed, nothing published; Retry reads only those"),
        ("401@99x1", "token: HTTP 401; check the token, its permissions, and auth in the spec"),
        ("429:3600@99x1", "HTTP 429 asks to wait 3600 s in total, more than the 600 s limit"),
    ],
)
def test_the_runbook_quotes_the_message_of_a_failure(setting: Setting, fault: str, message: str) -> None:
    state, _ = setting.sync(Fault.parse(fault))
    assert state.name == "Incomplete" and message in state.message and message in TEXT


def test_the_runbook_quotes_the_messages_of_rejects_and_of_a_failed_push(setting: Setting) -> None:
    few = setting.server.simulator.scenario
    setting.server.play(replace(few, bad_ratio=0.2))
    state, _ = setting.sync()
    setting.server.play(few)
    for quote in ("Nothing published: rejects within the limit", "A Retry is refused again"):
        assert quote in state.message and quote in TEXT
    setting.engine.play(EngineScenario(token=ENGINE_TOKEN, faults=(Fault("401", 0),)))
    state, _ = setting.sync(push=SLOTS)
    for quote in ("but not all pushed to slots", "Retry pushes only what is left"):
        assert quote in state.message and quote in TEXT


def test_the_runbook_quotes_the_message_of_a_superseded_run(setting: Setting) -> None:
    _, first = setting.sync()
    _, newer = setting.sync()
    assert first.published and newer.published
    state, report = setting.sync(resume=first.run_id)
    assert state.is_completed() and report.requests == 0
    for text in (state.message, TEXT):
        assert "A later run has superseded this one" in text


def test_the_runbook_quotes_the_message_of_an_unavailable_database(setting: Setting) -> None:
    address = f"postgresql://me@127.0.0.1:{free_port()}/velocity"
    state, error = sync(WMS, address, token_env=None, **DAY)
    assert state.is_failed() and str(error).startswith("store postgresql://")
    for text in (str(error), TEXT):
        assert "check that the database is up, then run again" in text


def test_the_runbook_quotes_the_messages_of_a_stop_and_of_a_wrong_clock() -> None:
    stop = Stopped(signal.SIGTERM)
    stop.add_note("resume with --resume …")
    assert f"error: {stop_message(stop)}" in TEXT
    refused = ssl.SSLCertVerificationError()
    refused.verify_code, refused.verify_message = 9, "not yet valid"
    for quote in (explain_certificate_error(refused), TEXT):
        assert quote and "the clock of this machine is wrong" in quote


def test_an_unknown_command_is_refused(setting: Setting) -> None:
    with pytest.raises(ValueError, match="does not know how to run: make coffee"):
        setting.run("make coffee")


def test_status_of_a_store_needs_no_prefect_server(setting: Setting) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        assert main(["status"]) == 0


def test_each_line_of_a_block_is_a_command_that_fits_in_this_checkout() -> None:
    assert COMMANDS and all(line.startswith(("$ .venv/bin/", *OF_BACKUP)) for line in LINES)


def test_each_symptom_links_to_its_section() -> None:
    sections = {
        title.lower().replace(",", "").replace(" ", "-") for title in re.findall(r"^## (.+)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) == sections
