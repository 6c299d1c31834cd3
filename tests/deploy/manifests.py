"""The files of deploy/ against the schemas that Kubernetes and ECS publish: `make manifests`.

Runs in an environment of its own (requirements.txt beside this file), without the project.
"""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import botocore.session
import kubernetes_validate
import pytest
import yaml
from botocore.validate import ParamValidator
from prefect_aws.workers import ECSWorker
from prefect_aws.workers.ecs_worker import ECSJobConfiguration
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES, ECS = ROOT / "deploy/kubernetes", ROOT / "deploy/ecs"
VERSIONS = ("1.29", "1.33", "1.37")
MANIFESTS = [
    each
    for name in ("worker", "cronjob")
    for each in yaml.safe_load_all((KUBERNETES / f"{name}.yaml").read_text())
]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
JOB_VARIABLES: dict[str, Any] = DEPLOYMENTS[0]["work_pool"]["job_variables"]


def template(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "job-template.json").read_text())
    return content


def defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Return a template without our defaults of its variables."""
    stripped = copy.deepcopy(content)
    for variable in stripped["variables"]["properties"].values():
        variable.pop("default", None)
    return stripped


def contains(whole: Any, part: Any) -> bool:
    """Return True if all of `part` is in `whole`, which may have more keys."""
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


def job() -> dict[str, Any]:
    """Return the Job that a worker makes of the template for a deployment of prefect.yaml."""
    values = {**JOB_VARIABLES, "command": "prefect flow-run execute", "name": "run"}
    found = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(template(KUBERNETES), values)
    )
    found._populate_env_in_manifest()
    manifest = found.job_manifest
    pod = manifest["spec"]["template"]["spec"]
    # Prefect's own template has these in the wrong place, and requires them there; Kubernetes ignores them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    if isinstance(pod["containers"][0].get("args"), str):
        pod["containers"][0]["args"] = pod["containers"][0]["args"].split()
    return manifest


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [each for each in MANIFESTS if each["kind"] == kind]
    return found


PODS = {
    "worker": of_kind("Deployment")["spec"]["template"]["spec"],
    "cronjob": of_kind("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    "run": job()["spec"]["template"]["spec"],
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", [*MANIFESTS, job()], ids=lambda each: each["kind"])
def test_a_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_key_is_detected() -> None:
    wrong = copy.deepcopy(of_kind("Deployment"))
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_stops_in_time_is_not_root_and_keeps_the_entrypoint(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] >= 30 and pod["securityContext"]["runAsUser"] == 10001
    assert "command" not in container  # it would replace tini, which forwards SIGTERM
    assert container["resources"]["limits"]["memory"]
    assert [each["secretRef"]["name"] for each in container["envFrom"]] == ["sku-velocity"]


def test_a_run_that_is_evicted_returns_to_the_pool() -> None:
    run = job()
    assert run["spec"]["backoffLimit"] == 0
    environment = {each["name"]: each["value"] for each in PODS["run"]["containers"][0]["env"]}
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"


@pytest.mark.parametrize(("worker", "directory"), [(KubernetesWorker, KUBERNETES), (ECSWorker, ECS)])
def test_a_template_has_everything_of_prefects_own(worker: Any, directory: Path) -> None:
    assert contains(defaults(template(directory)), defaults(worker.get_default_base_job_template()))


def check_ecs(definition: dict[str, Any]) -> None:
    service = botocore.session.get_session().get_service_model("ecs")
    shape = service.operation_model("RegisterTaskDefinition").input_shape
    report = ParamValidator().validate(definition, shape)
    assert not report.has_errors(), report.generate_report()
    for container in definition["containerDefinitions"]:
        assert 30 <= container["stopTimeout"] <= 120  # Fargate's most
        assert "entryPoint" not in container and container["user"] == "10001"
        assert not {each["name"] for each in container.get("secrets", [])} & {
            each["name"] for each in container.get("environment", [])
        }


def test_the_task_definition_of_the_ecs_worker_is_valid() -> None:
    check_ecs(json.loads((ECS / "worker-task-definition.json").read_text()))


def test_the_task_definition_of_an_ecs_run_is_valid() -> None:
    values = {**JOB_VARIABLES, "command": "prefect flow-run execute", "name": "run"}
    found = asyncio.run(ECSJobConfiguration.from_template_and_values(template(ECS), values))
    definition = dict(found.task_definition)
    definition |= {key: str(definition[key]) for key in ("cpu", "memory")}  # the worker does the same
    check_ecs(definition)


def test_an_unknown_key_of_a_task_definition_is_detected() -> None:
    wrong = json.loads((ECS / "worker-task-definition.json").read_text())
    wrong["containerDefinitions"][0]["stopTimeOut"] = 30
    with pytest.raises(AssertionError, match="Unknown parameter"):
        check_ecs(wrong)
