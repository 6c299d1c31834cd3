"""Instants have one form in the store, whether they are formatted one by one or by the page."""

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.store.tables import instant_text, instant_texts

OFFSETS = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(timezone)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS)  # noqa: DTZ001


@given(st.lists(INSTANTS))
def test_the_instants_of_a_page_are_formatted_as_single_ones(instants: list[datetime]) -> None:
    assert list(instant_texts(instants)) == [instant_text(each) for each in instants]
