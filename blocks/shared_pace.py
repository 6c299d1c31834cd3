"""One pace for all processes that read a source: each keeps to the slots that it leases of one limit.

A slot of the limit is a request per second, or more where the rate is no whole number. A process paces
itself at the sum of its slots, on a clock of its own, so the API of Prefect is asked about once a second
and not once a request, and the sum over all processes is never above the limit. (Prefect's own
`rate_limit` asks at each start, and at each it drops the fraction of a slot that has decayed since the
last: of 50 requests a second it let 19 through.)

A second limit, with room for everybody, holds a slot for each process that waits without a share: those
that see it give half of theirs back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from blocks.run_log import run_logger
from sku_velocity.errors import ConfigurationError
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.spec import PaceSpec

BLOCKS = 10  # that the limit is leased in; up to so many processes get a share at once
LEASE = 60.0  # seconds, the shortest that Prefect grants; the slots of a killed process are free after it
TURN = 1.0  # seconds between two looks at the limit
API_TIMEOUT = 10.0  # seconds
WAITING_ROOM = 10_000  # processes
COMPLAINT = 60.0  # seconds between two warnings that a process waits


@dataclass(frozen=True)
class Terms:
    """How leases are held, in seconds: renewed every `renewal`, and counted on for `sure`, since no reply
    says when a lease began. All are given back after `idle` without a request, and whoever gave some back
    leaves them to the others for `reserve`.
    """

    renewal: float = 20.0
    sure: float = LEASE - 15.0
    idle: float = 3.0
    reserve: float = 5.0


@dataclass
class Lease:
    """Slots of the limit, and when they were last asked for, in seconds on the process's clock."""

    id: UUID
    slots: int
    asked: float


async def create_shared_limit(pace: PaceSpec) -> None:
    """Make the limit that `pace.shared_limit` names, or set it, to what the pace allows."""
    assert pace.shared_limit
    async with get_client() as api:
        await set_limit(api, pace.shared_limit, slots_of(pace))


async def set_limit(api: PrefectClient, name: str, slots: int) -> None:
    """Make a limit whose slots do not decay, or set its slots."""
    with suppress(ObjectAlreadyExists):  # another process was as quick
        await api.upsert_global_concurrency_limit_by_name(name, slots, slot_decay_per_second=0)


@asynccontextmanager
async def shared_pace(pace: PaceSpec, pacer: Pacer, terms: Terms = Terms()) -> AsyncIterator[None]:
    """Let the pacer start only what the process's share of `pace.shared_limit` allows.

    Raises ConfigurationError where the Prefect API has no such limit, or one of another kind or size.
    """
    pacer.set_rate(0)
    async with get_client(httpx_settings={"timeout": API_TIMEOUT}) as api:  # not that of a task's context
        shares = Shares(api, pace, pacer, terms)
        await shares.look()
        await shares.open_waiting_room()
        keeper = asyncio.create_task(shares.keep())
        try:
            yield
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await shares.give_all_back()


class Shares:
    """A process's leases of the limit: as many as are free while requests wait, none while none do.

    Where others ask in vain, the process gives half of its leases back. Before slots are given back the
    pacer is slowed, and a second goes by: what left before counts no more when another process begins.
    """

    def __init__(self, api: PrefectClient, pace: PaceSpec, pacer: Pacer, terms: Terms) -> None:
        assert pace.shared_limit
        self._terms = terms
        self._name = pace.shared_limit
        self._waiting_room = f"{self._name} (waiting)"
        self._slots = slots_of(pace)
        self._rate_of_slot = pace.requests_per_second / self._slots
        self._hand_over = max(1.0, 1 / self._rate_of_slot)
        self._api = api
        self._pacer = pacer
        self.leases: list[Lease] = []
        self._waiting: Lease | None = None
        self._reserved_until = 0.0
        self._complained = time.monotonic()
        self._logger = run_logger("shared_pace")

    async def look(self) -> GlobalConcurrencyLimitResponse:
        """The limit as it stands. Raises ConfigurationError where it is none that a pace can be shared by."""
        try:
            limit = await self._api.read_global_concurrency_limit_by_name(self._name)
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"pace.shared_limit: the Prefect API has no global concurrency limit {self._name}: "
                f"save the source again with `python -m flows save-source`, or {self._creation}"
            ) from error
        if not limit.active:
            raise ConfigurationError(
                f"pace.shared_limit: the limit {self._name} is not active and would hold nobody back: "
                f"`prefect gcl update '{self._name}' --enable`"
            )
        if limit.slot_decay_per_second:
            raise ConfigurationError(
                f"pace.shared_limit: the limit {self._name} has a slot decay, so its slots free themselves "
                f"while they are in use: `prefect gcl update '{self._name}' --slot-decay-per-second 0`"
            )
        if limit.limit > self._slots:
            raise ConfigurationError(
                f"pace.shared_limit: the limit {self._name} has {limit.limit} slots, but the pace allows "
                f"{self._slots}, one for each request a second: "
                f"`prefect gcl update '{self._name}' --limit {self._slots}`"
            )
        return limit

    @property
    def _creation(self) -> str:
        return f"`prefect gcl create '{self._name}' --limit {self._slots} --slot-decay-per-second 0`"

    async def keep(self) -> None:
        """Lease, renew and give back, as the pacer's requests and the other processes need it."""
        while True:
            if not self.leases:
                await self._pacer.starved.wait()
            try:
                async with asyncio.timeout(API_TIMEOUT):
                    surplus = await self._turn()
                await self._give_back(surplus)
            except (ConfigurationError, httpx.HTTPError, TimeoutError) as error:
                self._complain(f"{type(error).__name__}: {error}")
            self._pace()
            await asyncio.sleep(TURN)

    async def give_all_back(self) -> None:
        """Free the slots for the others; what cannot be given back is free when its lease ends."""
        with suppress(httpx.HTTPError, TimeoutError):
            await self._wait_no_more()
            await self._give_back(self.leases)

    async def _turn(self) -> Sequence[Lease]:
        """Renew the leases and take those that are wanted. Gives those that others want more."""
        limit = await self.look()
        await self._renew()
        over, full = limit.active_slots > limit.limit, limit.active_slots >= limit.limit
        reserved = time.monotonic() < self._reserved_until
        if self._pacer.idle_for(self._terms.idle) or (over and self._held > limit.limit):
            return self.leases
        if len(self.leases) > 1 and (over or (full and not reserved and await self._others_wait())):
            return self.leases[: len(self.leases) // 2]
        if not full and not reserved:
            await self._take(limit)
        if self.leases:
            await self._wait_no_more()
        else:
            await self._wait_for_others(limit)
        return []

    async def _take(self, limit: GlobalConcurrencyLimitResponse) -> None:
        """Lease what is free."""
        free = limit.limit - limit.active_slots
        while free > 0 and (lease := await self._lease(self._name, min(free, max(1, limit.limit // BLOCKS)))):
            self.leases.append(lease)
            self._pace()
            free -= lease.slots

    async def _lease(self, name: str, slots: int) -> Lease | None:
        asked = time.monotonic()
        try:
            reply = await self._api.increment_concurrency_slots_with_lease(
                [name], slots, mode="concurrency", lease_duration=LEASE
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.LOCKED:
                return None
            raise
        return Lease(UUID(reply.json()["lease_id"]), slots, asked)

    async def open_waiting_room(self) -> None:
        """Make the second limit, where it is not there."""
        await set_limit(self._api, self._waiting_room, WAITING_ROOM)

    async def _others_wait(self) -> bool:
        try:
            room = await self._api.read_global_concurrency_limit_by_name(self._waiting_room)
        except ObjectNotFound:  # somebody has tidied it away
            await self.open_waiting_room()
            return False
        return room.active_slots > 0

    async def _wait_for_others(self, limit: GlobalConcurrencyLimitResponse) -> None:
        """Let the others see that this process has no share, and the operator after a while."""
        if self._waiting is None or time.monotonic() > self._waiting.asked + self._terms.sure:
            self._waiting = await self._lease(self._waiting_room, 1)
        self._complain(
            f"all {limit.limit} slots are leased by other processes; slots that nobody uses any more are set "
            f"free by `prefect gcl update '{self._name}' --active-slots 0`"
        )

    async def _wait_no_more(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, None
            await self._api.release_concurrency_slots_with_lease(waiting.id)

    async def _renew(self) -> None:
        for lease in list(self.leases):
            asked = time.monotonic()
            if asked < lease.asked + self._terms.renewal:
                continue
            try:
                await self._api.renew_concurrency_lease(lease.id, LEASE)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.GONE:
                    raise
                self.leases.remove(lease)
                self._pace()
            else:
                lease.asked = asked

    async def _give_back(self, leases: Sequence[Lease]) -> None:
        if not leases:
            return
        self.leases = [lease for lease in self.leases if lease not in leases]
        self._pace()
        await asyncio.sleep(self._hand_over)
        self._reserved_until = time.monotonic() + self._terms.reserve
        async with asyncio.timeout(API_TIMEOUT):
            for lease in leases:
                await self._api.release_concurrency_slots_with_lease(lease.id)

    def _pace(self) -> None:
        """Hold the pacer to the leases that are surely still ours."""
        now = time.monotonic()
        self.leases = [lease for lease in self.leases if now < lease.asked + self._terms.sure]
        self._pacer.set_rate(self._held * self._rate_of_slot)

    @property
    def _held(self) -> int:
        return sum(lease.slots for lease in self.leases)

    def _complain(self, reason: str) -> None:
        if time.monotonic() >= self._complained + COMPLAINT:
            self._complained = time.monotonic()
            self._logger.warning("The shared pace %s is %d slots: %s", self._name, self._held, reason)


def slots_of(pace: PaceSpec) -> int:
    """Whole slots that the pace is shared in; each is at least one request a second, if the pace is."""
    return max(1, int(pace.requests_per_second))
