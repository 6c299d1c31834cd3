"""Windows, chunks and movements as values."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sku_velocity.model.chunk import Chunk
from sku_velocity.model.movement import Movement
from sku_velocity.model.window import Window, iso
from sku_velocity.model.window_grid import HOURS


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, minute, tzinfo=UTC)


def test_a_window_is_half_open() -> None:
    window = Window(at(1), at(2))
    assert at(1) in window and at(1, 59) in window and at(2) not in window


def test_a_window_is_stored_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    assert str(Window(datetime(2026, 3, 1, 2, tzinfo=berlin), at(2))) == (
        "2026-03-01T01:00:00Z/2026-03-01T02:00:00Z"
    )


@pytest.mark.parametrize("end", [at(1), at(0)])
def test_a_window_ends_after_it_starts(end: datetime) -> None:
    with pytest.raises(ValueError, match="after its start"):
        Window(at(1), end)


def test_a_window_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        Window(at(1).replace(tzinfo=None), at(2))


@pytest.mark.parametrize(
    ("now", "start"), [(at(5, 10), 4), (at(5, 9), 3), (at(5, 20), 4), (at(6, 0), 4), (at(5, 59), 4)]
)
def test_the_last_hour_has_settled(now: datetime, start: int) -> None:
    assert HOURS.window_before(now - timedelta(minutes=10)) == Window(at(start), at(start + 1))


def test_everything_contains_any_instant() -> None:
    window = Window.everything()
    assert datetime(1970, 1, 1, tzinfo=UTC) in window and window.is_everything
    assert str(window) == "everything"


@given(st.integers(0, 10_000), st.integers(1, 5_000), st.integers(1, 700))
def test_pages_tile_their_chunk(offset: int, size: int, page_size: int) -> None:
    chunk = Chunk(0, offset, size, page_size)
    pages = list(chunk.pages())
    assert [position for page in pages for position in range(page.offset, page.end)] == list(
        range(offset, offset + size)
    )
    assert all(page.size <= page_size for page in pages)


def test_pages_resume_where_a_chunk_stopped() -> None:
    chunk = Chunk(3, 3000, 2500, 1000)
    assert [(page.offset, page.size) for page in chunk.pages(since=4000)] == [(4000, 1000), (5000, 500)]
    assert list(chunk.pages(since=chunk.end)) == [] and chunk.label == "3000-5499"


def test_a_movement_is_strict_and_frozen() -> None:
    movement = Movement.model_validate_json(
        '{"sku_id": "A-1", "warehouse_id": "W", "units_moved": "3", "timestamp_utc": "2026-03-01T00:00:00Z"}'
    )
    assert movement.units_moved == 3 and movement.movement_id is None
    with pytest.raises(ValidationError):
        movement.units_moved = 4  # type: ignore[misc]  # it is read-only by design
    with pytest.raises(ValidationError, match="Extra inputs"):
        Movement.model_validate({**movement.model_dump(), "colour": "red"})


def test_iso_ends_in_z() -> None:
    assert iso(at(1)) == "2026-03-01T01:00:00Z"
