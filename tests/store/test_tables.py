"""Instants on SQLite: stored as microseconds, shown by the views as text."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sku_velocity.store.tables import as_instant, metadata, microseconds
from sku_velocity.store.views import views

OFFSETS = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(timezone)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS)  # noqa: DTZ001


@pytest.fixture(scope="module")
def windows() -> Iterator[sqlite3.Connection]:
    """A view of windows with the columns that it shows."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in metadata.tables.values():
            connection.execute(f"CREATE TABLE {table.name} ({', '.join(table.columns.keys())})")
        [view] = (each for each in views("sqlite") if "published_windows" in each)
        connection.execute(view)
        yield connection


@given(INSTANTS)
@example(datetime(1, 1, 1, tzinfo=UTC))
@example(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
@example(datetime(2026, 3, 1, 23, 59, 59, 999_600, tzinfo=UTC))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
def test_an_instant_is_stored_exactly_and_shown_as_text(
    windows: sqlite3.Connection, instant: datetime
) -> None:
    stored = microseconds(instant)
    assert as_instant(stored) == instant and as_instant(stored).tzinfo is UTC
    windows.execute("DELETE FROM publications")
    windows.execute("INSERT INTO publications (warehouse_id, range_start) VALUES ('WH-01', ?)", [stored])
    [(text, nothing)] = windows.execute("SELECT range_start, range_end FROM published_windows")
    in_utc = instant.astimezone(UTC).replace(tzinfo=None)
    assert text == f"{in_utc.isoformat('T', 'microseconds')}+00:00" and nothing is None


@given(INSTANTS, INSTANTS)
def test_stored_instants_keep_their_order(one: datetime, other: datetime) -> None:
    assert (microseconds(one) < microseconds(other)) == (one < other)
