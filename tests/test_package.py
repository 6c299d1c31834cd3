"""The wheel: it holds the core without Prefect's parts, and installs the command."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT

VERSION = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    [built] = directory.glob("*.whl")
    return built


def test_the_wheel_holds_the_core_and_its_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"sku_velocity", f"sku_velocity-{VERSION}.dist-info"}
    for part in (
        "source/presets/odoo-json2.yaml",
        "source/source.schema.json",
        "store/migrations/env.py",
        "cli/app.py",
        "py.typed",
    ):
        assert f"sku_velocity/{part}" in names


def test_an_installed_wheel_runs_its_command_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # What it depends on is taken from here; in a .pth, the links of editable installations are not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    subprocess.run([*install, "--python", home / "bin" / "python", wheel], check=True)
    command = home / "bin" / "sku-velocity"
    outputs = [
        subprocess.run([command, word], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for word in ("--version", "presets")
    ]
    assert outputs[0].strip() == VERSION and "odoo-json2" in outputs[1]
