"""A run reads the window that it names, or the last complete one that had settled when it was due.

A window that is finer than the source's timestamps is refused, with the command that works.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.steps.requests import SyncRequest
from sku_velocity.steps.window_choice import Bounds, WindowChoice

BERLIN = "Europe/Berlin"
PARAMS = {"params": {"start": "from"}}


def spec(*, zone: str | None = None, **window: Any) -> SourceSpec:
    fields = {"timestamp_utc": {"path": "at", "assume_timezone": zone}}
    return parse_spec(
        {"name": "acme", "base_url": "https://wms.example.com", "window": window, "fields": fields}, "test"
    )


PLAIN, WINDOWED, MINUTES, DAYS = (
    spec(),
    spec(**PARAMS),
    spec(**PARAMS, grain="minute"),
    spec(**PARAMS, grain="day"),
)
BERLIN_DAYS = spec(**PARAMS, grain="day", zone=BERLIN)


def at(hour: float, day: int = 1) -> datetime:
    return datetime(2026, 3, day, tzinfo=UTC) + timedelta(hours=hour)


DUE = at(8 + 1 / 3)


def choose(
    source: SourceSpec,
    start: datetime | None = None,
    end: datetime | None = None,
    due: datetime = DUE,
    **asked: Any,
) -> Window:
    return WindowChoice(source, Bounds(start, end, **asked), due, "sku-velocity sync", {}).window()


@pytest.mark.parametrize(("due", "end"), [(at(8 + 1 / 3), 8), (at(8, 1) + timedelta(seconds=599), 7)])
def test_the_default_is_the_last_hour_settled_when_the_run_was_due(due: datetime, end: int) -> None:
    assert choose(WINDOWED, due=due) == Window(at(end - 1), at(end))


@pytest.mark.parametrize(
    ("minutes", "zone", "due", "window"),
    [
        (15, None, at(8.2), Window(at(7.75), at(8))),
        (1440, None, at(0.1, 3), Window(at(0, 1), at(0, 2))),  # not settled yet
        (1440, None, at(0.2, 3), Window(at(0, 2), at(0, 3))),
        (1440, BERLIN, at(23.2, 2), Window(at(23, 1), at(23, 2))),
        (1440, BERLIN, at(22.2, 29), Window(at(23, 28), at(22, 29))),  # 23 hours
        (None, "Asia/Kolkata", at(8.7), Window(at(7.5), at(8.5))),
        (10_080, None, at(0.2, 9), Window(at(0, 2), at(0, 9))),  # Monday to Monday
    ],
)
def test_a_scheduled_run_reads_the_last_complete_window_of_its_length_and_zone(
    minutes: int | None, zone: str | None, due: datetime, window: Window
) -> None:
    assert choose(WINDOWED, due=due, window_minutes=minutes, window_zone=zone) == window


@given(
    st.sampled_from([5, 60, 480, 1440]),
    st.sampled_from([BERLIN, "Africa/Cairo", "UTC"]),
    st.integers(0, 10**5),
)
def test_runs_that_are_due_after_each_border_read_every_window_once(
    minutes: int, zone: str, after: int
) -> None:
    asked = {"window_minutes": minutes, "window_zone": zone}
    first = choose(WINDOWED, due=at(0) + timedelta(minutes=after), **asked)
    windows, due = [first], first.end
    for _ in range(5):
        due = WindowChoice(WINDOWED, Bounds(**asked), due, "", {}).grid.window_at(due).end
        windows.append(choose(WINDOWED, due=due + timedelta(minutes=10), **asked))
    assert [each.end for each in windows[:-1]] == [each.start for each in windows[1:]]


def test_only_an_end_means_one_window_before_it() -> None:
    assert choose(WINDOWED, end=at(5)) == Window(at(4), at(5))
    assert choose(WINDOWED, end=at(5.5)) == Window(at(5), at(5.5))  # to the border
    assert choose(WINDOWED, end=at(0, 3), window_minutes=1440) == Window(at(0, 2), at(0, 3))


def test_a_source_without_windows_is_read_whole_unless_bounds_are_given() -> None:
    assert choose(PLAIN).is_everything
    assert choose(PLAIN, at(1), at(2)) == Window(at(1), at(2))
    assert choose(spec(grain="day")).is_everything


def test_bounds_need_a_time_zone() -> None:
    for bounds in ({"start": at(1).replace(tzinfo=None)}, {"end": at(1).replace(tzinfo=None)}):
        with pytest.raises(ConfigurationError, match="need a time zone"):
            choose(WINDOWED, **bounds)


def test_an_end_before_the_start_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="after its start"):
        choose(PLAIN, at(2), at(1))


def test_the_default_of_a_source_of_days_is_a_day_in_its_zone() -> None:
    assert choose(DAYS, due=at(5, 3)) == Window(at(0, 2), at(0, 3))
    assert choose(BERLIN_DAYS, due=at(5, 3)) == Window(at(23, 1), at(23, 2))
    assert choose(spec(**PARAMS, grain="day", timezone=BERLIN), due=at(5, 3)) == Window(at(23, 1), at(23, 2))
    assert choose(BERLIN_DAYS, due=at(5, 9), window_minutes=10_080) == Window(at(23), at(23, 8))
    assert choose(MINUTES) == Window(at(7), at(8))


REFUSED: list[tuple[SourceSpec, dict[str, Any], str, str]] = [
    (DAYS, {"start": at(8), "end": at(9)}, "at midnight in UTC, not at 2026-03-01T08", "01T00 02T00"),
    (DAYS, {"start": at(0), "end": at(36)}, "not at 2026-03-02T12", "01T00 03T00"),
    (
        DAYS,
        {"start": at(8, 4), "end": at(9, 4)},
        "not at 2026-03-04T08",
        "03T00 04T00",
    ),  # the 4th is not over
    (DAYS, {"end": at(9, 2)}, "at midnight in UTC", "- 03T00"),
    (DAYS, {"start": at(9, 2)}, "at midnight in UTC", "02T00 -"),
    (DAYS, {"window_minutes": 60}, "at midnight in UTC", "- -"),
    (DAYS, {"window_minutes": 1440, "window_zone": BERLIN}, "at midnight in UTC", "- -"),
    (BERLIN_DAYS, {"start": at(0), "end": at(0, 2)}, "at midnight in Europe/Berlin", "28T23 02T23"),
    (MINUTES, {"start": at(1 / 240), "end": at(2)}, "at whole minutes", "01T00 01T02"),
    (WINDOWED, {"start": at(1 / 36_000), "end": at(2)}, "at whole seconds", "01T00 01T02"),
]


@pytest.mark.parametrize(("source", "asked", "reason", "bounds"), REFUSED)
def test_a_window_finer_than_the_timestamps_is_refused_with_the_command_that_works(
    source: SourceSpec, asked: dict[str, Any], reason: str, bounds: str
) -> None:
    request = SyncRequest(
        source="my acme.yaml", warehouse="WH-01", token_env="T", accept_shrunk=True, **asked
    )
    command, due = "sku-velocity sync", at(5, 4)
    with pytest.raises(ConfigurationError, match=reason) as refused:
        WindowChoice(source, request, due, command, request.options()).window()
    words = shlex.split(str(refused.value).partition(": run ")[2])
    assert words[:4] == [*command.split(), "--source", "my acme.yaml"] and "--accept-shrunk" in words
    given = {
        name: datetime.fromisoformat(words[words.index(f"--{name}") + 1])
        for name in ("start", "end")
        if f"--{name}" in words
    }
    found = [given[name].strftime("%dT%H") if name in given else "-" for name in ("start", "end")]
    assert found == bounds.split() and "--window-minutes" not in words and "--window-zone" not in words
    window = choose(source, due=due, **given)
    assert source.grain.holds(window.start) and source.grain.holds(window.end)


def test_a_password_in_the_address_of_the_store_is_not_in_the_command() -> None:
    request = SyncRequest(source="a", warehouse="W", store="postgresql://u:secret@h/d", window_minutes=60)
    with pytest.raises(ConfigurationError) as refused:
        WindowChoice(DAYS, request, DUE, "sku-velocity sync", request.options()).window()
    assert "secret" not in str(refused.value) and "--store STORE-URL" in str(refused.value)
