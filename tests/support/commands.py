"""Running the commands that need no Prefect, in this process."""

from __future__ import annotations

from sku_velocity.cli.app import execute, make_app


def run(*words: str) -> int:
    """Run a command and return its exit code."""
    return execute(make_app("sku-velocity"), list(words))
