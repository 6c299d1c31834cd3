"""One pace for all processes that read a source: each leases slots of one Prefect concurrency limit.

A slot is one request per second, or more if the rate is not a whole number. A process limits its own rate
to the sum of its slots, so it calls the Prefect API about once a second instead of once per request, and
the sum over all processes never exceeds the limit. (Prefect's own `rate_limit` calls the API for each
request and discards the fraction of a slot that has decayed since the last call: of 50 requests a second
it let 19 through.)

A second, practically unlimited limit holds a slot for each process that waits without a share. Processes
that see it occupied release half of their slots.
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

MAX_SHARES = 10  # leases that the limit is divided into: at most this many processes have a share at once
LEASE = 60.0  # seconds, Prefect's minimum; after it, the slots of a killed process are free
POLL_INTERVAL = 1.0  # seconds between two reads of the limit
API_TIMEOUT = 10.0  # seconds
WAITING_ROOM = 10_000  # processes
WARNING_INTERVAL = 60.0  # seconds


@dataclass(frozen=True)
class Terms:
    """Lease timing in seconds: renewed every `renewal`, relied on for `valid`, since no response says when a
    lease began. All leases are released after `idle` without a request. A process that has released some
    does not lease again for `reserve`.
    """

    renewal: float = 20.0
    valid: float = LEASE - 15.0
    idle: float = 3.0
    reserve: float = 5.0


@dataclass
class Lease:
    """Leased slots of the limit, and when they were last requested, in seconds on the process's clock."""

    id: UUID
    slots: int
    requested: float


async def create_shared_limit(pace: PaceSpec) -> None:
    """Create or update the limit that `pace.shared_limit` names, with the slots that the pace allows."""
    assert pace.shared_limit
    async with get_client() as api:
        await set_limit(api, pace.shared_limit, slots_of(pace))


async def set_limit(api: PrefectClient, name: str, slots: int) -> None:
    """Create a limit whose slots do not decay, or update its slots."""
    with suppress(ObjectAlreadyExists):  # another process has created it meanwhile
        await api.upsert_global_concurrency_limit_by_name(name, slots, slot_decay_per_second=0)


@asynccontextmanager
async def shared_pace(pace: PaceSpec, pacer: Pacer, terms: Terms = Terms()) -> AsyncIterator[None]:
    """Limit the pacer to the process's share of `pace.shared_limit`.

    Raises ConfigurationError if the Prefect API has no such limit, or one of another kind or size.
    """
    pacer.set_rate(0)
    async with get_client(httpx_settings={"timeout": API_TIMEOUT}) as api:  # not a task context's client
        shares = Shares(api, pace, pacer, terms)
        await shares.read_limit()
        await shares.open_waiting_room()
        maintenance = asyncio.create_task(shares.maintain())
        try:
            yield
        finally:
            maintenance.cancel()
            with suppress(asyncio.CancelledError):
                await maintenance
            await shares.release_all()


class Shares:
    """A process's leases of the limit: all free slots while requests wait, none while none do.

    If other processes wait in vain, the process releases half of its leases. It slows the pacer a second
    before it releases slots, so that its earlier requests no longer count when another process starts.
    """

    def __init__(self, api: PrefectClient, pace: PaceSpec, pacer: Pacer, terms: Terms) -> None:
        assert pace.shared_limit
        self._terms = terms
        self._name = pace.shared_limit
        self._waiting_room = f"{self._name} (waiting)"
        self._slots = slots_of(pace)
        self._rate_of_slot = pace.requests_per_second / self._slots
        self._release_delay = max(1.0, 1 / self._rate_of_slot)
        self._api = api
        self._pacer = pacer
        self.leases: list[Lease] = []
        self._waiting: Lease | None = None
        self._reserved_until = 0.0
        self._warned_at = time.monotonic()
        self._logger = run_logger("shared_pace")

    async def read_limit(self) -> GlobalConcurrencyLimitResponse:
        """Read the limit. Raises ConfigurationError if it cannot limit a shared pace."""
        try:
            limit = await self._api.read_global_concurrency_limit_by_name(self._name)
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"pace.shared_limit: the Prefect API has no global concurrency limit {self._name}: "
                f"save the source again with `python -m flows save-source`, or run {self._create_command}"
            ) from error
        if not limit.active:
            raise ConfigurationError(
                f"pace.shared_limit: the limit {self._name} is inactive and limits nothing: "
                f"run `prefect gcl update '{self._name}' --enable`"
            )
        if limit.slot_decay_per_second:
            raise ConfigurationError(
                f"pace.shared_limit: the limit {self._name} has a slot decay, so its slots free themselves "
                f"while they are in use: run `prefect gcl update '{self._name}' --slot-decay-per-second 0`"
            )
        if limit.limit > self._slots:
            raise ConfigurationError(
                f"pace.shared_limit: the limit {self._name} has {limit.limit} slots, but the pace allows "
                f"{self._slots}, one for each request a second: "
                f"run `prefect gcl update '{self._name}' --limit {self._slots}`"
            )
        return limit

    @property
    def _create_command(self) -> str:
        return f"`prefect gcl create '{self._name}' --limit {self._slots} --slot-decay-per-second 0`"

    async def maintain(self) -> None:
        """Lease, renew and release slots, as the pacer and the other processes need them."""
        while True:
            if not self.leases:
                await self._pacer.starved.wait()
            try:
                async with asyncio.timeout(API_TIMEOUT):
                    surplus = await self._adjust()
                await self._release(surplus)
            except (ConfigurationError, httpx.HTTPError, TimeoutError) as error:
                self._warn(f"{type(error).__name__}: {error}")
            self._apply_rate()
            await asyncio.sleep(POLL_INTERVAL)

    async def release_all(self) -> None:
        """Release all slots. Those that cannot be released are free when their lease expires."""
        with suppress(httpx.HTTPError, TimeoutError):
            await self._leave_waiting_room()
            await self._release(self.leases)

    async def _adjust(self) -> Sequence[Lease]:
        """Renew the leases and lease the slots that are needed. Return the leases to release for others."""
        limit = await self.read_limit()
        await self._renew()
        over, full = limit.active_slots > limit.limit, limit.active_slots >= limit.limit
        reserved = time.monotonic() < self._reserved_until
        if self._pacer.idle_for(self._terms.idle) or (over and self._leased > limit.limit):
            return self.leases
        if len(self.leases) > 1 and (over or (full and not reserved and await self._others_wait())):
            return self.leases[: len(self.leases) // 2]
        if not full and not reserved:
            await self._lease_free(limit)
        if self.leases:
            await self._leave_waiting_room()
        else:
            await self._enter_waiting_room(limit)
        return []

    async def _lease_free(self, limit: GlobalConcurrencyLimitResponse) -> None:
        """Lease all free slots."""
        free, share = limit.limit - limit.active_slots, max(1, limit.limit // MAX_SHARES)
        while free > 0 and (lease := await self._lease(self._name, min(free, share))):
            self.leases.append(lease)
            self._apply_rate()
            free -= lease.slots

    async def _lease(self, name: str, slots: int) -> Lease | None:
        requested = time.monotonic()
        try:
            reply = await self._api.increment_concurrency_slots_with_lease(
                [name], slots, mode="concurrency", lease_duration=LEASE
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.LOCKED:
                return None
            raise
        return Lease(UUID(reply.json()["lease_id"]), slots, requested)

    async def open_waiting_room(self) -> None:
        """Create the second limit if it does not exist."""
        await set_limit(self._api, self._waiting_room, WAITING_ROOM)

    async def _others_wait(self) -> bool:
        try:
            room = await self._api.read_global_concurrency_limit_by_name(self._waiting_room)
        except ObjectNotFound:  # a user has deleted it
            await self.open_waiting_room()
            return False
        return room.active_slots > 0

    async def _enter_waiting_room(self, limit: GlobalConcurrencyLimitResponse) -> None:
        """Signal to the others that this process has no share, and warn the operator after a while."""
        if self._waiting is None or time.monotonic() > self._waiting.requested + self._terms.valid:
            self._waiting = await self._lease(self._waiting_room, 1)
        self._warn(
            f"all {limit.limit} slots are leased by other processes; if some are no longer in use, free them "
            f"with `prefect gcl update '{self._name}' --active-slots 0`"
        )

    async def _leave_waiting_room(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, None
            await self._api.release_concurrency_slots_with_lease(waiting.id)

    async def _renew(self) -> None:
        for lease in list(self.leases):
            requested = time.monotonic()
            if requested < lease.requested + self._terms.renewal:
                continue
            try:
                await self._api.renew_concurrency_lease(lease.id, LEASE)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.GONE:
                    raise
                self.leases.remove(lease)
                self._apply_rate()
            else:
                lease.requested = requested

    async def _release(self, leases: Sequence[Lease]) -> None:
        if not leases:
            return
        self.leases = [lease for lease in self.leases if lease not in leases]
        self._apply_rate()
        await asyncio.sleep(self._release_delay)
        self._reserved_until = time.monotonic() + self._terms.reserve
        async with asyncio.timeout(API_TIMEOUT):
            for lease in leases:
                await self._api.release_concurrency_slots_with_lease(lease.id)

    def _apply_rate(self) -> None:
        """Set the pacer's rate to the sum of the leases that are certainly still valid."""
        now = time.monotonic()
        self.leases = [lease for lease in self.leases if now < lease.requested + self._terms.valid]
        self._pacer.set_rate(self._leased * self._rate_of_slot)

    @property
    def _leased(self) -> int:
        return sum(lease.slots for lease in self.leases)

    def _warn(self, reason: str) -> None:
        if time.monotonic() >= self._warned_at + WARNING_INTERVAL:
            self._warned_at = time.monotonic()
            self._logger.warning("Shared pace %s, %d slots here: %s", self._name, self._leased, reason)


def slots_of(pace: PaceSpec) -> int:
    """Return the whole slots of a pace. Each is at least one request a second, if the pace is."""
    return max(1, int(pace.requests_per_second))
