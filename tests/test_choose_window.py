"""Which window a run reads: by its scheduled start, so that a rerun tomorrow asks for the same."""

from datetime import UTC, datetime, timedelta

import pytest

from flows.sync_velocity import choose_window
from sku_velocity.errors import ConfigurationError
from sku_velocity.models import Window
from sku_velocity.source.spec import parse_spec

PLAIN = parse_spec({"name": "acme", "base_url": "https://wms.example.com"}, "test")
WINDOWED = PLAIN.model_validate(
    {"name": "acme", "base_url": "https://wms.example.com", "window": {"params": {"start": "from"}}}
)
SETTLE = timedelta(minutes=10)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("scheduled", "end"), [("2026-03-01T08:20:00+00:00", 8), ("2026-03-01T08:09:59+00:00", 7)]
)
def test_it_is_the_last_hour_that_had_settled_when_the_run_was_due(
    scheduled: str, end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = datetime.fromisoformat(scheduled)
    monkeypatch.setattr("prefect.runtime.flow_run.scheduled_start_time", due, raising=False)
    assert choose_window(WINDOWED, None, None, SETTLE) == Window(at(end - 1), at(end))


def test_an_end_alone_means_the_hour_before_it() -> None:
    assert choose_window(WINDOWED, None, at(5), SETTLE) == Window(at(4), at(5))


def test_a_source_that_knows_no_windows_is_read_whole_unless_told_otherwise() -> None:
    assert choose_window(PLAIN, None, None, SETTLE).is_everything
    assert choose_window(PLAIN, at(1), at(2), SETTLE) == Window(at(1), at(2))


def test_an_end_before_the_start_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="after its start"):
        choose_window(PLAIN, at(2), at(1), SETTLE)
