"""prefect.yaml holds nothing that Prefect would pass over in silence."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy import _models as models
from prefect.client.schemas.schedules import construct_schedule
from prefect.events import AutomationCore, DeploymentEventTrigger, EventTrigger, Posture
from prefect.utilities.importtools import import_object
from pydantic import BaseModel

from flows.artifacts.events import INCOMPLETE_EVENT, REJECTS_EVENT
from tests.support.checkout import CHECKOUT
from tests.support.deployments import CONTENT, DEPLOYMENTS, TEXT, flow_of

PARTS: dict[str, type[BaseModel]] = {
    "work_pool": models.WorkPoolConfig,
    "concurrency_limit": models.ConcurrencyLimitSpec,
    "schedules": models.RawScheduleConfig,
}

EVENTS = {INCOMPLETE_EVENT, REJECTS_EVENT}

every_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])


def unknown_keys(model: type[BaseModel], data: dict[str, Any], where: str) -> Iterator[str]:
    """The keys that a model of Prefect's would ignore, below `data` too."""
    known = {name for key, field in model.model_fields.items() for name in (key, field.alias)}
    yield from (f"{where}.{key}" for key in data if key not in known)
    for key, part in PARTS.items():
        found = data.get(key, [])
        for each in found if isinstance(found, list) else [found]:
            yield from unknown_keys(part, each, f"{where}.{key}")


def test_the_file_is_what_prefect_reads() -> None:
    models.PrefectYamlModel.model_validate(CONTENT)
    assert list(unknown_keys(models.PrefectYamlModel, CONTENT, "prefect.yaml")) == [
        "prefect.yaml.definitions"  # anchors of YAML alone
    ]


def test_a_misspelt_key_would_be_seen() -> None:
    data = {"name": "x", "work_pool": {"nane": "y"}, "concurency_limit": 1}
    found = list(unknown_keys(models.DeploymentConfig, data, "x"))
    assert found == ["x.concurency_limit", "x.work_pool.nane"]


@every_deployment
def test_no_key_of_a_deployment_is_unknown(deployment: dict[str, Any]) -> None:
    assert list(unknown_keys(models.DeploymentConfig, deployment, deployment["name"])) == []


@every_deployment
def test_its_parameters_are_those_of_its_flow(deployment: dict[str, Any]) -> None:
    flow_of(deployment).validate_parameters(deployment["parameters"])


@every_deployment
def test_each_parameter_is_described_in_the_ui(deployment: dict[str, Any]) -> None:
    for name, parameter in flow_of(deployment).parameters.properties.items():
        assert parameter.get("description", "").endswith("."), name


@every_deployment
def test_it_is_described_and_its_schedules_are_ones(deployment: dict[str, Any]) -> None:
    assert deployment["description"]
    for schedule in deployment["schedules"]:
        construct_schedule(cron=schedule["cron"], timezone=schedule["timezone"])


@every_deployment
def test_its_triggers_are_ones_that_are_switched_off_until_somebody_wants_them(
    deployment: dict[str, Any],
) -> None:
    for trigger in deployment.get("triggers", []):
        assert list(unknown_keys(DeploymentEventTrigger, trigger, deployment["name"])) == []
        read = DeploymentEventTrigger.model_validate(trigger)
        assert not read.enabled and read.expect <= EVENTS
        assert (read.parameters or {}).keys() <= flow_of(deployment).parameters.properties.keys()


@pytest.mark.parametrize("step", CONTENT["pull"], ids=lambda each: next(iter(each)))
def test_each_pull_step_is_a_function_that_takes_what_it_is_given(step: dict[str, dict[str, Any]]) -> None:
    [(name, inputs)] = step.items()
    signature(import_object(name)).bind(**inputs)


def test_every_run_sends_the_heartbeats_that_the_automation_waits_for() -> None:
    """Any event of the run will do: its last state is named by us, and in no list of Prefect's names."""
    [automation] = yaml.safe_load((CHECKOUT / "automations.yaml").read_text())["automations"]
    trigger = AutomationCore.model_validate(automation).trigger
    assert isinstance(trigger, EventTrigger) and trigger.posture == Posture.Proactive
    assert trigger.expect == {"prefect.flow-run.*"} and trigger.after == {"prefect.flow-run.heartbeat"}
    for deployment in DEPLOYMENTS:
        beats = deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
        assert 3 * int(beats) <= trigger.within.total_seconds()


def texts(content: object) -> Iterator[str]:
    """All that is written in a YAML document, keys aside."""
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from texts(part)
    else:
        yield str(content)


def test_no_path_of_a_machine_is_in_it() -> None:
    assert str(CHECKOUT) not in TEXT and str(Path.home()) not in TEXT
    assert [text for text in texts(CONTENT) if text.startswith(("/", "~", "file:"))] == []
