"""The wheel, and an environment that it is installed in."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.checkout import CHECKOUT


def build_wheel(directory: Path) -> Path:
    """Build the wheel into a directory, and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    [built] = directory.glob("*.whl")
    return built


def install_wheel(wheel: Path, home: Path) -> Path:
    """Install a wheel without the checkout in a new environment, and return its directory of programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # What it depends on is taken from here; in a .pth, the links of editable installations are not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    subprocess.run([*install, "--python", home / "bin" / "python", wheel], check=True)
    return home / "bin"
