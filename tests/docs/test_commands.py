"""Every command in README.md and docs/ is one that exists, and a test runs it or a reason says why not."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import App, MissingArgumentError
from prefect.cli import app as prefect_program

from flows.cli import add_commands
from simulator.__main__ import app as simulator_app
from simulator.dialect import DIALECTS
from simulator.records import alias_of, sku_of
from simulator.scenario import Scenario
from simulator.server import EngineServer, Server, serve, serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.cli.app import make_app
from tests.docs.test_runbook import OTHERS as RUN_WITH_PREFECT
from tests.support.acme import TOKEN
from tests.support.checkout import CHECKOUT
from tests.support.commands import run
from tests.support.deployments import DEPLOYMENTS, flow_of
from tests.support.doc_commands import (
    ACME,
    FENCE,
    DocCommand,
    named_commands,
    names,
    shown_commands,
    text_of,
    yaml_of,
)
from tests.support.engine import ENGINE_TOKEN
from tests.support.operator import BY_HAND
from tests.support.ports import free_port

SHOWN, NAMED = shown_commands(), named_commands()
# Tests that run all commands of a page, or take a command from it.
RUN_BY = {
    "docs/runbook.md": "tests/docs/test_runbook.py, tests/docs/test_backup.py",
    "docs/tutorial.md": "tests/docs/test_tutorial.py",
}
# Commands by their first words: the test that runs them with other options, or why none does.
NOT_TAKEN_FROM_THE_PAGE = {
    "export": "addresses, paths and tokens of the user's own; the tests set the same variables",
    "printf": "writes stock.yaml: the test of the simulated InvenTree",
    "python -m pytest": "the file exists; this is such a run",
    "make": "the target exists; CI runs `make test`, the others install or take minutes",
    "python -m flows init": "tests/support/team.py takes its options from a page, for tests/flows/init",
    "python -m flows sync-warehouses": "tests/flows/test_sync_warehouses.py, with workers of its own",
    "python -m flows notify": "tests/flows/test_notifications.py, by another block",
    "prefect worker start": "tests/support/operator.py starts one",
    "prefect server start": "tests/support/prefect_server.py starts one, at another address",
    "prefect automation create": "tests/chaos/test_many_machines.py; here it would end other tests' runs",
    "prefect work-pool create": "tests/support/operator.py creates one of type process; no cluster, no AWS",
    "docker build": "no container engine; tests/deploy checks the Dockerfile",
    "kubectl": "no cluster; `make manifests` validates the files",
    "aws": "no account; `make manifests` validates the files",
}


def apps() -> dict[tuple[str, ...], App]:
    """Return the parser of each program."""
    with_prefect = make_app("python -m flows")
    add_commands(with_prefect)
    return {
        ("sku-velocity",): make_app("sku-velocity"),
        ("python", "-m", "flows"): with_prefect,
        ("python", "-m", "simulator"): simulator_app,
        ("prefect",): prefect_program.__globals__["_app"],  # its parser, which it does not document
    }


APPS = apps()
TARGETS = re.findall(r"^([\w./-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)


def parse(words: Sequence[str], is_whole: bool = True) -> None:
    """Parse a command by the program itself, which converts all values. Raises CycloptsError.

    Required options are added to one that is not whole: running text names commands without them.
    """
    program = next(each for each in APPS if tuple(words[: len(each)]) == each)
    rest = [UUID_OF.get(word, word) for word in words[len(program) :] if word != "--no-prompt"]
    while True:
        try:
            APPS[program].parse_args(rest, exit_on_error=False, print_error=False)
            return
        except MissingArgumentError as error:
            if is_whole or error.argument is None:
                raise
            rest += [error.argument.name, "acme.yaml"]


UUID_OF = {"RUN": "0199a0b1-0000-7000-8000-000000000000"}  # a placeholder that must look like an id


def is_parsed(command: DocCommand) -> bool:
    return any(command.words[: len(each)] == each for each in APPS)


def is_like(command: DocCommand, start: str) -> bool:
    words = tuple(start.split())
    return command.words[: len(words)] == words


def id_of(command: DocCommand) -> str:
    return str(command)[:100]


@pytest.mark.parametrize("command", [*filter(is_parsed, dict.fromkeys(SHOWN))], ids=id_of)
def test_its_options_exist_and_their_values_are_valid(command: DocCommand) -> None:
    parse(command.words)


@pytest.mark.parametrize("command", [*filter(is_parsed, dict.fromkeys(NAMED))], ids=id_of)
def test_the_options_of_a_command_in_running_text_exist(command: DocCommand) -> None:
    parse(command.words, is_whole=False)


@pytest.mark.parametrize("command", [each for each in SHOWN if each.page == "docs/runbook.md"], ids=id_of)
def test_a_command_of_the_runbook_exists_without_prefect(command: DocCommand) -> None:
    """The page says so, and which names to replace."""
    if command.words[:3] == ("python", "-m", "flows") and not command.words[3].startswith("save-"):
        parse(["sku-velocity", *command.words[3:]])


def options_of(app: App) -> Iterator[str]:
    for name in app:
        if not name.startswith("-"):
            yield from options_of(app[name])
    if app.default_command:
        yield from (name for each in app.assemble_argument_collection() for name in each.names)


def test_the_options_in_running_text_exist() -> None:
    ours = {name for start, app in APPS.items() if start != ("prefect",) for name in options_of(app)}
    ours |= {"--help", "--type"}  # the latter is Prefect's, of a work pool
    spans = [code for page in names() for code in re.findall(r"`([^`]+)`", FENCE.sub("", text_of(page)))]
    named = {
        (name, code)
        for code in spans
        if not code.startswith("prefect ")
        for name in re.findall(r"(?<![\w-])(--[a-z][\w-]*)", code)
    }
    assert len(named) > 50 and [each for each in named if each[0] not in ours] == []


def test_a_renamed_option_and_a_missing_one_are_detected() -> None:
    with pytest.raises(MissingArgumentError):
        parse(["sku-velocity", "sync", "--source", "acme.yaml"])
    with pytest.raises(Exception, match="Unknown option"):
        parse(["sku-velocity", "sync", "--push-to", "slots.yaml"], is_whole=False)
    with pytest.raises(Exception, match="Unknown command"):
        parse(["python", "-m", "flows", "synch"])


@pytest.mark.parametrize("command", [each for each in NAMED if not is_parsed(each)], ids=id_of)
def test_another_program_that_is_named_is_known(command: DocCommand) -> None:
    match command.words:
        case ("make", target):
            assert target in TARGETS
        case ("python", "-m", module, *_):
            assert (CHECKOUT / module.replace(".", "/")).with_suffix(".py").exists() or module == "benchmarks"
        case _:
            assert command.words[:2] == ("pipx", "install")


def test_the_targets_of_make_and_the_files_of_the_checkout_exist() -> None:
    targets = {command.words[1] for command in SHOWN if command.words[0] == "make"}
    assert targets and targets <= set(TARGETS)
    paths = {word.rpartition("//")[2] for command in SHOWN for word in command.words}
    files = [path for path in paths if path.startswith(("deploy/", "tests/"))]
    assert len(files) >= 5 and all((CHECKOUT / path).is_file() for path in files)


def needs(command: DocCommand) -> set[str]:
    """Return the variables and the files of the user that a command needs."""
    words = command.words
    after = dict(zip(words, words[1:], strict=False))
    needed = {after[option] for option in ("--token-env", "--source", "--spec") if option in after}
    if words[:3] == ("python", "-m", "flows") or words[0] == "prefect" and words[1] != "server":
        needed.add("PREFECT_API_URL")
    if "save-store" in words:
        needed.add("SKU_VELOCITY_STORE")
    if after.get("--push", "").endswith(".yaml") or "save-engine" in words and "--token-env" not in after:
        needed.add("SKU_VELOCITY_ENGINE_TOKEN")
    return {name for name in needed if name.endswith(".yaml") or name.isupper()}


@pytest.mark.parametrize("page", sorted({command.page for command in SHOWN}))
def test_a_page_says_which_variables_and_files_its_commands_need(page: str) -> None:
    text = text_of(page)
    said = set(re.findall(r"`([\w.]+)`", FENCE.sub("", text)))
    said |= set(re.findall(r"\b([A-Z_]+)=", text)) | set(re.findall(r"> (\S+\.yaml)$", text, re.MULTILINE))
    needed = set().union(*(needs(command) for command in SHOWN if command.page == page))
    assert needed - said == set()


def test_a_deployment_run_has_parameters_of_the_flow() -> None:
    text = "".join(text_of(page) for page in ("compose.yaml", "README.md")).replace("\\\n#", "")
    runs = re.findall(r"prefect deployment run ([\w-]+)/([\w-]+) (.*)", text)
    assert runs
    for flow_name, name, options in runs:
        [deployment] = [each for each in DEPLOYMENTS if each["name"] == name]
        flow = flow_of(deployment)
        assert flow.name == flow_name
        given = dict(re.findall(r"--param (\w+)=(\S+)", options))
        flow.validate_parameters(deployment["parameters"] | given)


def manifest_commands() -> list[list[str]]:
    """Return the commands in compose.yaml and in the manifests."""
    services = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"].values()
    found = [each["command"] for each in services if "command" in each]
    scripts = [script.split(";") for each in found if each[0] == "sh" for script in each[2:]]
    found = [each for each in found if each[0] != "sh"] + [line.split() for each in scripts for line in each]
    for path in sorted((CHECKOUT / "deploy/kubernetes").glob("*.yaml")):
        found += [json.loads(json.dumps(each)) for each in _args(yaml.safe_load_all(path.read_text()))]
    ecs = json.loads((CHECKOUT / "deploy/ecs/worker-task-definition.json").read_text())
    return [*found, *(each["command"] for each in ecs["containerDefinitions"])]


def _args(node: Any) -> Iterator[list[str]]:
    if isinstance(node, dict):
        if isinstance(node.get("args"), list):
            yield node["args"]
        for each in node.values():
            yield from _args(each)
    elif not isinstance(node, str | int | None):
        for each in node:
            yield from _args(each)


@pytest.mark.parametrize("words", manifest_commands(), ids=lambda words: " ".join(words)[:60])
def test_the_commands_of_manifests_exist(words: list[str]) -> None:
    if words[:2] != ["python", "-c"]:
        parse(words)


# What is run here: every `sku-velocity` command of a page that no other test runs.

CRON = [command for command in SHOWN if "/etc/sku-velocity.env" in command.line]  # test_cron_without_prefect
STOCK = [command for command in SHOWN if {"inventree", "stock.yaml"} & set(command.words)]
HERE = {
    (command.page == "docs/sources.md", command.words): command
    for command in SHOWN
    if command.words[0] == "sku-velocity" and command.page not in RUN_BY and command not in CRON + STOCK
}.values()


@dataclass
class Desk:
    """A user's directory, and the systems that the specs of the pages describe."""

    wms: Server
    engine: EngineServer

    def run(self, command: DocCommand) -> int:
        """Run a command with the spec of its page, and the addresses of here."""
        self.write_specs(command)
        words = [
            word.replace("/srv/", "srv/").replace("https://wms.example.com", self.wms.url)
            for word in command.words[1:]
        ]
        if "show" in words:
            words[2:] = a_letter()
        return run(*words)

    def write_specs(self, command: DocCommand) -> None:
        """Write the specs that the pages have, and serve the API that acme's describes."""
        page = "docs/sources.md" if command.page == "docs/sources.md" else "README.md"
        self.wms.play(MARCH if page == "docs/sources.md" else recent())
        for name, owner in (("acme", page), ("erp", "docs/master.md"), ("slots", "docs/slotting.md")):
            text = yaml_of(owner, name).replace("https://wms.example.com", self.wms.url)
            text = text.replace("https://erp.example.com/api", self.wms.url)
            Path(f"{name}.yaml").write_text(text.replace("https://slotting.example.com/api", self.engine.url))
        if "--output" in command.words:
            Path("acme.yaml").unlink()


def a_letter() -> tuple[str, str]:
    """Return the run and the position of a dead letter."""
    with closing(sqlite3.connect("sku-velocity.db")) as connection:
        run_id, position = connection.execute(
            "SELECT run_id, position FROM dead_letters JOIN sync_runs USING (run_key)"
        ).fetchone()
    return run_id, str(position)


MARCH = Scenario(token=TOKEN, dialect=DIALECTS["nested"], records=2000, period=timedelta(days=2))


def recent() -> Scenario:
    """Return the rows of the last hours, with a few rejects, and the items of an ERP."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    items = tuple(
        {"sku_id": sku_of(rank), "code": sku_of(rank), "barcodes": [alias_of(rank)], "state": "A"}
        for rank in range(1, SKUS + 1)
    )
    given: dict[str, Any] = {"start": hour - timedelta(hours=3), "period": timedelta(hours=4), "records": 800}
    return Scenario(token=TOKEN, dialect=ACME, bad_ratio=0.01, skus=SKUS, items=items, **given)


SKUS = 40


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        pytest.MonkeyPatch.context() as patch,
        serve(recent()) as wms,
        serve_engine(EngineScenario(token=ENGINE_TOKEN)) as engine,
    ):
        patch.chdir(tmp_path_factory.mktemp("desk"))
        patch.delenv("SKU_VELOCITY_STORE", raising=False)
        for variable in ("ACME_TOKEN", "ERP_TOKEN"):
            patch.setenv(variable, TOKEN)
        patch.setenv("SKU_VELOCITY_ENGINE_TOKEN", ENGINE_TOKEN)
        desk = Desk(wms, engine)
        assert desk.run(next(command for command in HERE if command.words[1] == "sync")) == 0
        yield desk


@pytest.mark.parametrize("command", [*HERE], ids=id_of)
def test_it_runs(desk: Desk, command: DocCommand) -> None:
    assert desk.run(command) == 0


def test_a_simulated_system_is_started_and_checked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    start, check = STOCK
    [block] = [body for _, body in FENCE.findall(text_of(start.page)) if start.line in body]
    port = str(free_port())
    block = block.replace("8765", port)
    [write] = re.findall(r"^\$ (printf .*)$", block, re.MULTILINE)
    server = subprocess.Popen(
        [sys.executable, *start.words[1:-1], port], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    with server:
        try:
            assert server.stdout and server.stdout.readline() in block
            subprocess.run(["/bin/sh", "-c", write], check=True)
            monkeypatch.setenv("TOKEN", "s3cret")
            assert run(*check.words[1:]) == 0
        finally:
            server.terminate()


def test_each_shown_command_is_run_or_has_a_reason() -> None:
    taken = {*(each.words for each in [*HERE, *STOCK, *CRON]), *RUN_WITH_PREFECT, *BY_HAND}
    left = [each for each in SHOWN if each.words not in taken and each.page not in RUN_BY]
    used = {each: [start for start in NOT_TAKEN_FROM_THE_PAGE if is_like(each, start)] for each in left}
    assert [str(each) for each, starts in used.items() if not starts] == []
    assert {start for starts in used.values() for start in starts} == NOT_TAKEN_FROM_THE_PAGE.keys()
    assert RUN_BY.keys() <= {each.page for each in SHOWN}
