"""Processes in which an import of Prefect fails and is logged."""

from __future__ import annotations

from pathlib import Path

IMPORTS = "imports.log"  # exists once a process has tried to import Prefect
# Python imports a module of this name at its start.
SITECUSTOMIZE = """
import sys

class NoPrefect:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "prefect":
            with open({log!r}, "a") as log:
                print(name, file=log)
            raise ImportError("Prefect must not be imported")

sys.meta_path.insert(0, NoPrefect())
"""


def forbid_prefect(directory: Path) -> None:
    """Write the module that does it for each process that has this directory in its PYTHONPATH."""
    log = str(directory / IMPORTS)
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE.format(log=log))
