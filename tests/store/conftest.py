"""What tests of the store share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.server import EngineServer, serve_engine
from simulator.slotting import EngineScenario


@pytest.fixture(scope="module")
def server() -> Iterator[EngineServer]:
    with serve_engine() as running:
        yield running


@pytest.fixture
def engine(server: EngineServer) -> EngineServer:
    """An engine that has received nothing yet."""
    server.play(EngineScenario())
    return server
