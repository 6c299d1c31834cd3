"""The garbage collector runs less often while pages are read, and at its usual rate afterwards."""

import gc

import pytest

from sku_velocity.process.garbage import frozen_objects, relaxed_collection


def test_fewer_collections_run_while_pages_are_read() -> None:
    def collections() -> int:
        before = sum(each["collections"] for each in gc.get_stats())
        records = [{"record": [number]} for number in range(10_000)]
        after = sum(each["collections"] for each in gc.get_stats())
        assert len(records) == 10_000
        return after - before

    usual = collections()
    with relaxed_collection():
        assert collections() < usual / 10


def test_an_error_restores_the_usual_threshold() -> None:
    usual = gc.get_threshold()
    with pytest.raises(RuntimeError), relaxed_collection():
        raise RuntimeError
    assert gc.get_threshold() == usual


def test_what_exists_is_left_out_of_collections_for_a_time() -> None:
    with frozen_objects():
        assert gc.get_freeze_count() > 1_000
        with frozen_objects():
            pass
        assert gc.get_freeze_count() > 1_000  # only the outermost ends it
    assert gc.get_freeze_count() == 0


def test_objects_that_the_program_has_frozen_stay_so() -> None:
    gc.freeze()
    try:
        with frozen_objects():
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()


def test_the_last_of_several_restores_the_usual_threshold() -> None:
    usual = gc.get_threshold()
    first, second = relaxed_collection(), relaxed_collection()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() != usual
    second.__exit__(None, None, None)
    assert gc.get_threshold() == usual


def test_garbage_between_two_runs_is_collected() -> None:
    class Node:
        def __init__(self) -> None:
            self.me = self

    for _ in range(1_000):
        for _ in range(600):  # fewer than a collection's threshold
            Node()
        with frozen_objects():
            pass
    assert sum(type(each) is Node for each in gc.get_objects()) < 300_000
