"""What we rely on of Prefect's internals. A failure here names what a new release of Prefect has changed."""

from __future__ import annotations

import ast
import logging
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import prefect
import pytest
from prefect import tags
from prefect.logging.configuration import setup_logging
from prefect.utilities.annotations import quote

from tests.support.checkout import CHECKOUT

SOURCE = CHECKOUT / "flows" / "runtime" / "prefect_internals.py"
ADAPT = f"has changed in Prefect {prefect.__version__}: adapt {SOURCE.relative_to(CHECKOUT)}"
DOCUMENTED = {
    "prefect",
    "prefect.artifacts",
    "prefect.blocks.abstract",
    "prefect.blocks.core",
    "prefect.blocks.system",
    "prefect.cache_policies",
    "prefect.client.orchestration",
    "prefect.client.schemas.actions",
    "prefect.client.schemas.filters",
    "prefect.client.schemas.objects",
    "prefect.client.schemas.responses",
    "prefect.client.schemas.schedules",
    "prefect.client.schemas.sorting",
    "prefect.deployments",
    "prefect.events",
    "prefect.exceptions",
    "prefect.futures",
    "prefect.logging.loggers",
    "prefect.settings",
    "prefect.states",
    "prefect.task_runners",
    "prefect.tasks",
    "prefect.utilities.annotations",
    "prefect.utilities.callables",
    "prefect.utilities.importtools",
    "prefect.utilities.urls",
}


def imports_of(path: Path) -> list[tuple[str, str]]:
    """Return the modules of Prefect that a file imports from, each with a name."""
    return [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "prefect"
        for alias in node.names
    ]


def internal(name: str) -> Any:
    """Return one of the names that prefect_internals.py imports."""
    [module] = [module for module, imported in imports_of(SOURCE) if imported == name]
    return getattr(import_module(module), name)


@pytest.mark.parametrize(("module", "name"), imports_of(SOURCE), ids=lambda each: each)
def test_each_internal_name_exists(module: str, name: str) -> None:
    found = import_module(module)
    exists = hasattr(found, name) or import_module(f"{module}.{name}")
    assert exists, f"{module}.{name} {ADAPT}"


def test_no_other_module_imports_prefects_internals() -> None:
    product = [path for top in ("flows", "blocks", "demo") for path in (CHECKOUT / top).rglob("*.py")]
    for path in set(product) - {SOURCE}:
        assert {module for module, _ in imports_of(path)} <= DOCUMENTED, path
    for path in (CHECKOUT / "tests").rglob("*.py"):
        assert not [module for module, _ in imports_of(path) if "._" in module], path


@pytest.mark.parametrize("name", ["run_task_async", "run_task_sync"])
def test_the_task_engine_accepts_what_the_task_runner_passes(name: str) -> None:
    passed = {"task", "task_run_id", "parameters", "wait_for", "return_type", "dependencies"}
    assert passed <= signature(internal(name)).parameters.keys(), f"the signature of {name} {ADAPT}"


@pytest.mark.parametrize("name", ["run_flow", "run_flow_async"])
def test_the_flow_engine_runs_an_existing_flow_run(name: str) -> None:
    passed = {"flow", "flow_run", "return_type"}
    assert passed <= signature(internal(name)).parameters.keys(), f"the signature of {name} {ADAPT}"


@pytest.mark.anyio
@pytest.mark.usefixtures("prefect_server")
async def test_a_copy_of_the_client_context_shares_its_client() -> None:
    context = internal("AsyncClientContext")
    async with context() as opened:
        with opened.model_copy():
            assert context.get().client is opened.client, f"AsyncClientContext {ADAPT}"


def test_the_tags_context_holds_the_current_tags_and_can_replace_them() -> None:
    context = internal("TagsContext")
    with tags("a", "b"), context(current_tags=context.get().current_tags - {"a"}):
        assert context.get().current_tags == {"b"}, f"TagsContext {ADAPT}"
    assert context.get().current_tags == set(), f"TagsContext {ADAPT}"


def test_a_visit_of_a_collection_reports_annotations_and_can_be_stopped() -> None:
    seen: list[Any] = []

    def visit(value: Any, context: dict[str, Any]) -> Any:
        if isinstance(context.get("annotation"), quote):
            raise internal("StopVisiting")
        seen.append(value)
        return value

    internal("visit_collection")([{"a": [1]}, quote([2])], visit, context={})
    assert 1 in seen and 2 not in seen, f"visit_collection {ADAPT}"


@pytest.mark.parametrize("name", ["APILogWorker", "EventsWorker"])
def test_draining_a_worker_returns_what_it_has_and_has_not_sent(name: str) -> None:
    drained = internal(name).drain_all(timeout=0.1)
    assert isinstance(drained, tuple) and len(drained) == 2, f"{name}.drain_all {ADAPT}"


def test_the_console_handlers_are_those_that_are_silenced() -> None:
    setup_logging()
    from flows.runtime.prefect_internals import INTERNAL_LOGGER, LOGGERS

    console = internal("PrefectConsoleHandler")
    handlers = [handler for name in LOGGERS for handler in logging.getLogger(name).handlers]
    assert any(isinstance(handler, console) for handler in handlers), f"PrefectConsoleHandler {ADAPT}"
    assert logging.getLogger(INTERNAL_LOGGER).handlers, f"the logger {INTERNAL_LOGGER} {ADAPT}"


def test_the_models_of_prefect_yaml_exist() -> None:
    models = internal("_models")
    for name in ("PrefectYamlModel", "DeploymentConfig", "WorkPoolConfig", "ConcurrencyLimitSpec"):
        assert hasattr(models, name), f"prefect.cli.deploy._models.{name} {ADAPT}"
