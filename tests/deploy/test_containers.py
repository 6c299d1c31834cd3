"""The image, compose.yaml and the CI workflows: checked by their linters and schemas. No engine is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tests.support.checkout import CHECKOUT
from tests.support.deployments import CONTENT

BIN = Path(sys.executable).parent
COMPOSE = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
IGNORED = (CHECKOUT / ".dockerignore").read_text().splitlines()


def run(*command: str) -> str:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_dockerfile_passes_its_linter() -> None:
    run("hadolint", "Dockerfile")


def test_compose_yaml_is_valid() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / ".github/workflows").iterdir()), ids=lambda each: each.name
)
def test_a_ci_workflow_is_valid_and_its_jobs_end(path: Path) -> None:
    for schema in ("vendor.github-workflows", "custom.github-workflows-require-timeout"):
        run("check-jsonschema", "--builtin-schema", schema, str(path))


def test_the_image_holds_what_the_deployments_and_the_build_need() -> None:
    needed = {deployment["entrypoint"].split("/")[0] for deployment in CONTENT["deployments"]}
    needed |= {"blocks", "sku_velocity", "simulator", "prefect.yaml", "prefect.toml", "automations.yaml"}
    (copied,) = re.findall(r"^COPY (pyproject.*) \./$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    allowed = {line[1:] for line in IGNORED if line.startswith("!")}
    assert needed | set(copied.split()) <= allowed
    assert all((CHECKOUT / name).exists() for name in allowed)


@pytest.mark.parametrize("name", [".env", "wms.db", ".git", ".venv", "tests", "reports", "blocks/.env"])
def test_the_image_holds_no_secret_and_no_data(name: str) -> None:
    last = [line for line in IGNORED if fnmatch(name, line.lstrip("!").replace("**/", "*"))][-1]
    assert not last.startswith("!")


def test_each_service_stops_by_sigterm_and_waits_for_what_it_needs() -> None:
    assert 'ENTRYPOINT ["/usr/bin/tini", "--"]' in (CHECKOUT / "Dockerfile").read_text()
    assert not any("entrypoint" in service or "init" in service for service in SERVICES.values())
    assert SERVICES["worker"]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    grace = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace >= 30  # what a run needs to return its share of the pace


def test_the_password_is_set_by_the_user_and_the_ui_is_local() -> None:
    passwords = re.findall(r"velocity:([^@\s]+)@", yaml.safe_dump(COMPOSE, width=1000))
    assert passwords and all(each.startswith("${POSTGRES_PASSWORD") for each in passwords)
    assert SERVICES["server"]["ports"] == ["127.0.0.1:4200:4200"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["server"]


def test_the_source_in_compose_yaml_is_a_valid_spec(tmp_path: Path) -> None:
    from sku_velocity.steps.access import find_source

    spec = tmp_path / "wms.yaml"
    spec.write_text(COMPOSE["configs"]["wms"]["content"])
    assert str(find_source(str(spec), None).spec.base_url).startswith("http://wms:8000")
