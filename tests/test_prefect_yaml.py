"""prefect.yaml holds nothing that Prefect would silently ignore."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.schedules import construct_schedule
from prefect.events import AutomationCore, DeploymentEventTrigger, EventTrigger, Posture
from prefect.utilities.importtools import import_object
from pydantic import BaseModel

from flows.artifacts.events import PAYLOADS
from flows.runtime.ownership import HEARTBEAT, HEARTBEAT_ENVIRONMENT, TAG
from flows.runtime.prefect_internals import deployment_models
from tests.support.checkout import CHECKOUT
from tests.support.deployments import CONTENT, DEPLOYMENTS, TEXT, flow_of

models = deployment_models()

PARTS: dict[str, type[BaseModel]] = {
    "work_pool": models.WorkPoolConfig,
    "concurrency_limit": models.ConcurrencyLimitSpec,
    "schedules": models.RawScheduleConfig,
}

EVENTS = {payload.EVENT for payload in PAYLOADS}

every_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])


def unknown_keys(model: type[BaseModel], data: dict[str, Any], where: str) -> Iterator[str]:
    """Yield the keys that a Prefect model would ignore, including nested ones."""
    known = {name for key, field in model.model_fields.items() for name in (key, field.alias)}
    yield from (f"{where}.{key}" for key in data if key not in known)
    for key, part in PARTS.items():
        found = data.get(key, [])
        for each in found if isinstance(found, list) else [found]:
            yield from unknown_keys(part, each, f"{where}.{key}")


def test_the_file_has_no_keys_that_prefect_ignores() -> None:
    models.PrefectYamlModel.model_validate(CONTENT)
    assert list(unknown_keys(models.PrefectYamlModel, CONTENT, "prefect.yaml")) == [
        "prefect.yaml.definitions"  # only YAML anchors
    ]


def test_a_misspelt_key_is_detected() -> None:
    data = {"name": "x", "work_pool": {"nane": "y"}, "concurency_limit": 1}
    found = list(unknown_keys(models.DeploymentConfig, data, "x"))
    assert found == ["x.concurency_limit", "x.work_pool.nane"]


@every_deployment
def test_a_deployment_has_no_unknown_key(deployment: dict[str, Any]) -> None:
    assert list(unknown_keys(models.DeploymentConfig, deployment, deployment["name"])) == []


@every_deployment
def test_the_parameters_are_valid_for_the_flow(deployment: dict[str, Any]) -> None:
    flow_of(deployment).validate_parameters(deployment["parameters"])


@every_deployment
def test_each_parameter_has_a_description_in_the_ui(deployment: dict[str, Any]) -> None:
    for name, parameter in flow_of(deployment).parameters.properties.items():
        assert parameter.get("description", "").endswith("."), name


@every_deployment
def test_a_deployment_has_a_description_and_valid_schedules(deployment: dict[str, Any]) -> None:
    assert deployment["description"]
    for schedule in deployment["schedules"]:
        construct_schedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert schedule["active"] is False  # nothing runs before a team has entered its own warehouses


@every_deployment
def test_triggers_are_valid_and_disabled(deployment: dict[str, Any]) -> None:
    for trigger in deployment.get("triggers", []):
        assert list(unknown_keys(DeploymentEventTrigger, trigger, deployment["name"])) == []
        read = DeploymentEventTrigger.model_validate(trigger)
        assert not read.enabled and read.expect <= EVENTS
        assert (read.parameters or {}).keys() <= flow_of(deployment).parameters.properties.keys()


@pytest.mark.parametrize("step", CONTENT["pull"], ids=lambda each: next(iter(each)))
def test_each_pull_step_is_a_function_that_accepts_its_inputs(step: dict[str, dict[str, Any]]) -> None:
    [(name, inputs)] = step.items()
    signature(import_object(name)).bind(**inputs)


def test_every_deployment_sends_the_heartbeats_that_the_automation_expects() -> None:
    """Any event of the run counts: final states have our own names, which no list of Prefect's has."""
    [automation] = yaml.safe_load((CHECKOUT / "automations.yaml").read_text())["automations"]
    trigger = AutomationCore.model_validate(automation).trigger
    assert isinstance(trigger, EventTrigger) and trigger.posture == Posture.Proactive
    assert trigger.expect == {"prefect.flow-run.*"} and trigger.after == {"prefect.flow-run.heartbeat"}
    for deployment in DEPLOYMENTS:
        environment = deployment["work_pool"]["job_variables"]["env"]
        assert TAG in deployment["tags"] and HEARTBEAT_ENVIRONMENT.items() <= environment.items()
    assert trigger.within.total_seconds() >= 3 * HEARTBEAT


def test_the_automation_concerns_only_runs_with_our_tag() -> None:
    [automation] = yaml.safe_load((CHECKOUT / "automations.yaml").read_text())["automations"]
    related = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
    assert automation["trigger"]["match_related"] == related


def test_a_run_that_its_infrastructure_stops_returns_to_the_pool() -> None:
    """`prefect flow-run execute` reads this variable. Other values and other names have no effect."""
    for deployment in DEPLOYMENTS:
        environment = deployment["work_pool"]["job_variables"]["env"]
        assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"


def texts(content: object) -> Iterator[str]:
    """Yield all values of a YAML document."""
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from texts(part)
    else:
        yield str(content)


def test_the_file_holds_no_machine_specific_path() -> None:
    assert str(CHECKOUT) not in TEXT and str(Path.home()) not in TEXT
    assert [text for text in texts(CONTENT) if text.startswith(("/", "~", "file:"))] == []
