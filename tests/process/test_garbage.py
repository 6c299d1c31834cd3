"""The collector of cyclic garbage looks less often while pages are read, and as it did before thereafter."""

import gc

import pytest

from sku_velocity.process.garbage import relaxed_collection


def test_while_pages_are_read_fewer_of_its_looks_go_over_their_records() -> None:
    def looks() -> int:
        before = sum(each["collections"] for each in gc.get_stats())
        kept = [{"record": [number]} for number in range(10_000)]
        after = sum(each["collections"] for each in gc.get_stats())
        assert len(kept) == 10_000
        return after - before

    usual = looks()
    with relaxed_collection():
        assert looks() < usual / 10


def test_an_error_gives_the_collector_its_usual_pace_back() -> None:
    usual = gc.get_threshold()
    with pytest.raises(RuntimeError), relaxed_collection():
        raise RuntimeError
    assert gc.get_threshold() == usual
