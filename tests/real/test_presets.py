"""Presets against the real systems on loopback: what is published equals the system's own database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window
from sku_velocity.store import migrate
from tests.real.movements import BORDER, COUNT, END, START
from tests.real.reading import Content, read
from tests.real.systems import GROUPS, RealSystem

WHOLE, FIRST, SECOND = Window(START, END), Window(START, BORDER), Window(BORDER, END)
every_preset = pytest.mark.parametrize("preset", GROUPS)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    asyncio.run(migrate(url))
    return url


@pytest.fixture(scope="session")
def system_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RealSystem]]:
    """Return a function that gives a preset's system, which is filled and started once."""
    started: dict[object, Mapping[str, RealSystem]] = {}

    with ExitStack() as stack:

        def find(preset: str) -> RealSystem:
            group = GROUPS[preset]
            if group not in started:
                started[group] = stack.enter_context(group(tmp_path_factory.mktemp("system")))
            return started[group][preset]

        yield find


def published(preset: str, name: str, system: RealSystem, store: str, window: Window) -> Content:
    spec = {"preset": preset, "name": f"{preset}-{name}"} | system.own
    verdict, content = asyncio.run(read(spec, system.token, store, system.warehouse, window))
    assert verdict is Verdict.COMPLETE
    return content


@every_preset
def test_the_whole_window_equals_the_database(
    preset: str, system_of: Callable[[str], RealSystem], store: str
) -> None:
    system = system_of(preset)
    content = published(preset, "whole", system, store, WHOLE)
    assert content == system.truth() and content.total() == COUNT


@every_preset
def test_two_adjacent_windows_together_equal_the_database(
    preset: str, system_of: Callable[[str], RealSystem], store: str
) -> None:
    system = system_of(preset)
    first, second = (published(preset, "adjacent", system, store, window) for window in (FIRST, SECOND))
    assert first + second == system.truth() and min(first.total(), second.total()) > COUNT / 4
    assert Counter(row.at >= BORDER for row in first) == {False: len(first)}
