"""The push on each store, against the simulated engine: each published record once, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from simulator.faults import Fault
from simulator.server import EngineServer
from simulator.slotting import EngineScenario
from sku_velocity.errors import (
    EngineAuthError,
    EngineRefusalError,
    IncompleteWindowError,
    StoreConfigurationError,
)
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.push import ChunkPush, PushState
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.slotting.spec import EngineSpec
from sku_velocity.store import Store
from tests.support.engine import engine_spec, publish, push_all, reply_body, seconds
from tests.support.scripted_server import Reply, scripted

pytestmark = pytest.mark.anyio


def spec_of(engine: EngineServer, batch_size: int = 4, **parts: Any) -> EngineSpec:
    return engine_spec(engine.url, batch_size=batch_size, **parts)


def ids(*positions: int) -> Counter[str]:
    return Counter(f"m-{position}" for position in positions)


async def push_without_settling(engine: EngineServer, store: Store, spec: EngineSpec, index: int = 0) -> None:
    """Send a chunk's next batch, and do not store the answer."""
    await store.pushes.begin("run", index, spec.name)
    opened = await store.pushes.next_batch("run", index, spec.name, spec.batch_size, spec.movement_fields)
    assert opened
    async with SlottingClient.open(spec, None) as client:
        await client.push_movements(opened.batch)


async def test_each_row_of_a_run_is_pushed_once(store: Store, engine: EngineServer) -> None:
    await publish(store, "run", seconds(0, 25))
    assert len(await store.pushes.unpushed("run", "slots")) == 3
    await push_all(store, spec_of(engine), "run")
    assert engine.accepted == ids(*range(25)) and engine.stats().requests == 8
    pushed = await store.pushes.read("run", "slots")
    assert [(each.state, each.accepted, each.attempts) for each in pushed] == [
        (PushState.PUSHED, 10, 1),
        (PushState.PUSHED, 10, 1),
        (PushState.PUSHED, 5, 1),
    ]
    assert await store.pushes.unpushed("run", "slots") == []
    await push_all(store, spec_of(engine), "run")
    assert engine.stats().requests == 8


async def test_what_is_not_published_is_not_pushed(store: Store, engine: EngineServer) -> None:
    await publish(store, "run", seconds(0, 10), shown=False)
    with pytest.raises(ExceptionGroup) as caught:
        await push_all(store, spec_of(engine), "run")
    assert caught.group_contains(IncompleteWindowError, match="only published runs")
    await store.publications.publish("run", "{}")
    await push_all(store, spec_of(engine), "run")
    assert engine.accepted == ids(*range(10))


async def test_a_batch_without_a_stored_answer_is_sent_again_under_the_same_key(
    store: Store, engine: EngineServer
) -> None:
    await publish(store, "run", seconds(0, 10))
    await push_without_settling(engine, store, spec_of(engine))
    await push_all(store, spec_of(engine), "run")
    assert engine.accepted == ids(*range(10)) and engine.simulator.replayed == 1
    (pushed,) = await store.pushes.read("run", "slots")
    assert (pushed.accepted, pushed.batches, pushed.attempts) == (10, 3, 2)


@pytest.mark.parametrize("fields", [((), ("movement_type",)), (("movement_type", "extra"), ())])
async def test_a_begun_batch_has_the_same_fields_if_the_engine_lists_others(
    store: Store, engine: EngineServer, fields: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    await publish(store, "run", seconds(0, 6))
    before, after = (spec_of(engine, movement_fields=each) for each in fields)
    await push_without_settling(engine, store, before)
    await push_all(store, after, "run")
    assert engine.accepted == ids(*range(6)) and engine.simulator.replayed == 1
    sent = [list(engine.simulator.movements.current[f"m-{number}"])[5:] for number in (0, 5)]
    assert sent == [list(fields[0]), list(fields[1])]


async def test_a_begun_batch_stays_unchanged_if_the_batch_size_changes(
    store: Store, engine: EngineServer
) -> None:
    await publish(store, "run", seconds(0, 10))
    await push_without_settling(engine, store, spec_of(engine, batch_size=4))
    await push_all(store, spec_of(engine, batch_size=3), "run")
    assert engine.accepted == ids(*range(10))


async def test_a_batch_that_is_certainly_refused_is_cut_again(store: Store, engine: EngineServer) -> None:
    engine.play(EngineScenario(faults=(Fault("401", 0),)))
    await publish(store, "run", seconds(0, 10))
    with pytest.raises(ExceptionGroup):
        await push_all(store, spec_of(engine, batch_size=10), "run")
    await publish(store, "later", seconds(0, 2))
    await push_all(store, spec_of(engine, batch_size=3), "run")
    assert engine.accepted == ids(*range(2, 10)) and engine.stats().requests == 1 + 3


async def test_a_refusal_after_a_lost_answer_leaves_the_batch_unchanged(
    store: Store, engine: EngineServer
) -> None:
    engine.play(EngineScenario(faults=(Fault("reset", 0, times=1), Fault("401", 0, times=1))))
    await publish(store, "run", seconds(0, 10))
    with pytest.raises(ExceptionGroup):
        await push_all(store, spec_of(engine, batch_size=10), "run")
    await push_all(store, spec_of(engine, batch_size=3), "run")
    assert engine.accepted == ids(*range(10)) and engine.simulator.replayed == 1


async def test_a_batch_that_a_gateway_refuses_after_it_asked_to_wait_keeps_its_key(store: Store) -> None:
    await publish(store, "run", seconds(0, 6))
    taken = [Reply(207, reply_body([f"m-{n}" for n in places])) for places in (range(4), range(4, 6))]
    with scripted(Reply(503, headers={"Retry-After": "1"}), Reply(413), *taken) as server:
        with pytest.raises(ExceptionGroup):
            await push_to(server.url, store, 4)
        await push_to(server.url, store, 6)
    keys = [headers["Idempotency-Key"] for _, headers in server.requests]
    assert len(set(keys[:3])) == 1 and len(set(keys)) == 2


async def test_a_batch_that_a_later_attempt_may_have_sent_is_not_withdrawn(store: Store) -> None:
    await publish(store, "run", seconds(0, 4))
    await store.pushes.begin("run", 0, "slots")
    stopped = await store.pushes.next_batch("run", 0, "slots", 4)
    await store.pushes.begin("run", 0, "slots")
    other = await store.pushes.next_batch("run", 0, "slots", 4)
    assert stopped and stopped.is_new and other
    await store.pushes.withdraw("run", 0, "slots", stopped)
    again = await store.pushes.next_batch("run", 0, "slots", 2)
    assert again and again.batch == other.batch


async def push_to(url: str, store: Store, batch_size: int) -> None:
    await push_all(store, engine_spec(url, batch_size=batch_size), "run")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_batch_refused_after_a_lost_answer_is_cut_by_a_smaller_batch_size(
    store: Store, status: int
) -> None:
    answers = [Reply(207, reply_body(["m-0", "m-1"])), Reply(207, reply_body(["m-2", "m-3"]))]
    await publish(store, "run", seconds(0, 4))
    with scripted(Reply(207, cut=True), Reply(status), Reply(status), *answers) as server:
        for size in (4, 5):  # sent again under the same key: the engine may have been corrected
            with pytest.raises(ExceptionGroup) as caught:
                await push_to(server.url, store, size)
            assert caught.group_contains(
                EngineRefusalError, match="set batch_size below 4 .* up to 4 of them twice, from m-0 to m-3"
            )
        await push_to(server.url, store, 2)
    bodies = [[record["id"] for record in json.loads(body)["records"]] for body in server.bodies]
    assert bodies == [["m-0", "m-1", "m-2", "m-3"]] * 3 + [["m-0", "m-1"], ["m-2", "m-3"]]
    keys = [headers["Idempotency-Key"] for _, headers in server.requests]
    assert len(set(keys[:3])) == 1 and len(set(keys)) == 3
    (pushed,) = await store.pushes.read("run", "slots")
    assert (pushed.state, pushed.accepted) == (PushState.PUSHED, 4)


async def test_a_begun_batch_stays_unchanged_if_its_range_is_cut(store: Store, engine: EngineServer) -> None:
    await publish(store, "run", seconds(0, 20))
    await push_without_settling(engine, store, spec_of(engine))
    await publish(store, "later", seconds(2, 12))
    await push_all(store, spec_of(engine), "run")
    assert engine.accepted == ids(*range(4), *range(12, 20))  # 2 and 3 had gone before the cut


async def test_rows_that_are_no_longer_published_are_not_pushed(store: Store, engine: EngineServer) -> None:
    await publish(store, "run", seconds(0, 30))
    await publish(store, "later", seconds(5, 15))
    await push_all(store, spec_of(engine), "run")
    assert engine.accepted == ids(*range(5), *range(15, 30))
    assert await store.pushes.unpushed("run", "slots") == []
    await push_all(store, spec_of(engine), "later")
    assert engine.accepted == ids(*range(30))


async def test_nothing_is_pushed_of_a_fully_superseded_run(store: Store, engine: EngineServer) -> None:
    await publish(store, "run", seconds(0, 10))
    await publish(store, "later", seconds(0, 10))
    await push_all(store, spec_of(engine), "run")
    assert not engine.accepted
    assert [each.state for each in await store.pushes.read("run", "slots")] == [PushState.PUSHED]


async def test_what_the_engine_rejects_is_a_dead_letter_of_the_push(
    store: Store, engine: EngineServer
) -> None:
    engine.play(EngineScenario(reject_ratio=0.3))
    await publish(store, "run", seconds(0, 40))
    await push_all(store, spec_of(engine), "run")
    rejected = engine.simulator.movements.rejected
    letters = await store.dead_letters.of("run")
    assert rejected and {f"m-{each.position}" for each in letters} == set(rejected)
    assert [str(each) for each in letters[0].reasons] == ["slots: unknown SKU SKU-1"]
    assert f'"id": "m-{letters[0].position}"' in letters[0].record_json
    pushed = await store.pushes.read("run", "slots")
    assert sum(each.rejected for each in pushed) == len(letters)
    assert sum(each.accepted for each in pushed) == 40 - len(letters)


async def test_two_engines_are_kept_apart(store: Store, engine: EngineServer) -> None:
    engine.play(EngineScenario(reject_ratio=1))
    await publish(store, "run", seconds(0, 10))
    await push_all(store, spec_of(engine), "run")
    engine.play(EngineScenario(reject_ratio=1))
    await push_all(store, spec_of(engine, name="other"), "run")
    letters: list[DeadLetter] = await store.dead_letters.of("run")
    assert len(letters) == 10 and [str(each)[:6] for each in letters[0].reasons] == ["slots:", "other:"]
    assert len(await store.pushes.read("run", "other")) == 1


@pytest.mark.parametrize("fault", ["500", "502", "503", "reset", "cut", "html", "429"])
async def test_a_failing_engine_accepts_each_record_once(
    sqlite_url: str, engine: EngineServer, fault: str
) -> None:
    engine.play(EngineScenario(faults=(Fault(fault, ratio=0.5, times=2, seconds=0),)))
    async with Store.open(sqlite_url) as store:
        await publish(store, "run", seconds(0, 40))
        await push_all(store, spec_of(engine), "run")
    assert engine.accepted == ids(*range(40)) and engine.stats().faults[fault] >= 2


async def test_a_throttled_push_completes(sqlite_url: str, engine: EngineServer) -> None:
    engine.play(EngineScenario(requests_per_second=5, token="engine-token"))
    async with Store.open(sqlite_url) as store:
        await publish(store, "run", seconds(0, 60))
        await push_all(store, spec_of(engine, batch_size=4), "run", token="engine-token")
    assert engine.accepted == ids(*range(60)) and engine.stats().throttled


async def test_a_failed_push_has_an_error_until_it_is_begun_again(store: Store, engine: EngineServer) -> None:
    engine.play(EngineScenario(token="another"))
    await publish(store, "run", seconds(0, 10))
    with pytest.raises(ExceptionGroup) as caught:
        await push_all(store, spec_of(engine), "run")
    assert caught.group_contains(EngineAuthError)
    await store.pushes.fail("run", 0, "slots", "HTTP 401")
    (failed,) = await store.pushes.read("run", "slots")
    assert (failed.state, failed.error) == (PushState.FAILED, "HTTP 401")
    engine.play(EngineScenario())
    await push_all(store, spec_of(engine), "run")
    (pushed,) = await store.pushes.read("run", "slots")
    assert (pushed.state, pushed.error) == (PushState.PUSHED, None)
    await store.pushes.fail("run", 0, "slots", "too late")
    assert (await store.pushes.read("run", "slots"))[0].state is PushState.PUSHED


async def test_an_answer_that_two_workers_store_counts_once(store: Store) -> None:
    await publish(store, "run", seconds(0, 10))
    await store.pushes.begin("run", 0, "slots")
    first = await store.pushes.next_batch("run", 0, "slots", 4)
    second = await store.pushes.next_batch("run", 0, "slots", 9)
    assert first and second and first.batch == second.batch and (first.is_new, second.is_new) == (True, False)
    for opened in (first, second):
        await store.pushes.settle("run", 0, "slots", opened, [])
    (pushed,) = await store.pushes.read("run", "slots")
    assert pushed == ChunkPush(0, PushState.BEGUN, 1, 4, 0, 1, 1, first.batch.key)
    assert first.batch.key.startswith("run-0-0-") and json.loads(first.batch.body)["run"] == "run"


async def test_a_push_that_was_not_begun_is_named(store: Store) -> None:
    await publish(store, "run", seconds(0, 10))
    with pytest.raises(StoreConfigurationError, match="no push of chunk 0 of run run to slots"):
        await store.pushes.next_batch("run", 0, "slots", 4)
