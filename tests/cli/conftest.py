"""A fixture for the commands that run with Prefect and without."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.commands import run

Command = Callable[..., int]


@pytest.fixture(params=["process", "prefect"])
def command(request: pytest.FixtureRequest) -> Command:
    """Runs a command, and returns its exit code: `sku-velocity`, and `python -m flows`."""
    if request.param == "process":
        return run
    request.getfixturevalue("prefect_server")
    from flows.command_line import main

    return lambda *words: main(list(words))
