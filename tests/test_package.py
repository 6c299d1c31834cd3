"""The wheel: it holds the core, the flows and the blocks, and installs the command."""

from __future__ import annotations

import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.wheel import build_wheel, install_wheel

VERSION = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
PACKAGES = {"sku_velocity", "flows", "blocks"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    assert {name.split("/")[0] for name in names} == PACKAGES | {f"sku_velocity-{VERSION}.dist-info"}
    for part in (
        "source/presets/odoo-json2.yaml",
        "source/source.schema.json",
        "store/migrations/env.py",
        "cli/app.py",
        "py.typed",
    ):
        assert f"sku_velocity/{part}" in names
    for part in ("prefect.yaml", "automations.yaml"):
        assert archive.read(f"flows/init/{part}") == (CHECKOUT / part).read_bytes()


def test_an_installed_wheel_runs_its_command_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    command = install_wheel(wheel, tmp_path / "venv") / "sku-velocity"
    outputs = [
        subprocess.run([command, word], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for word in ("--version", "presets")
    ]
    assert outputs[0].strip() == VERSION and "odoo-json2" in outputs[1]
