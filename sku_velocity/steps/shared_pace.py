"""One pace for all processes that read a source: each holds some of its slots in the store.

A slot is one request per second, or more if the rate is not a whole number. A process renews its share once a
second, by the database's clock, and limits its own rate to it, so the sum over all processes never exceeds
the pace. A process that cannot renew its share stops sending before the others take it over.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

from sku_velocity.errors import ConfigurationError, VelocityError
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.spec import PaceSpec
from sku_velocity.steps.access import LOG, Log
from sku_velocity.store import Store

WARNING_INTERVAL = 60.0  # seconds
RENEWAL_VARIABLE = "SKU_VELOCITY_PACE_RENEWAL"
RENEWALS = (0.2, 5.0)  # seconds; more would leave a share too few attempts before it expires


@dataclass(frozen=True)
class Terms:
    """Timing in seconds: a share is renewed every `renewal`, and relied on for `valid`.

    After `expiry` without renewal, other processes take it over, each at its next `renewal`, so within 20 s.
    It is released after `idle` without a request.
    """

    renewal: float = 1.0
    valid: float = 10.0
    expiry: float = 17.0
    idle: float = 3.0

    @classmethod
    def of_environment(cls) -> Self:
        """Return the terms with the renewal that the environment sets. Raises ConfigurationError."""
        if not (text := os.environ.get(RENEWAL_VARIABLE)):
            return cls()
        least, most = RENEWALS
        with suppress(ValueError):
            if least <= (renewal := float(text)) <= most:
                return cls(renewal=renewal)
        raise ConfigurationError(f"{RENEWAL_VARIABLE}: not a number of seconds from {least:g} to {most:g}")


@asynccontextmanager
async def shared_pace(
    store: Store, pace: PaceSpec, pacer: Pacer, log: Log = LOG, terms: Terms | None = None
) -> AsyncIterator[None]:
    """Limit the pacer to the process's share of `pace.shared_limit`, which the store holds."""
    share = SharedPace(store, pace, pacer, log, terms or Terms.of_environment())
    renewal = asyncio.create_task(share.maintain())
    try:
        yield
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        await share.release()


class SharedPace:
    """A process's share of a pace: none while it sends nothing, and as much as any other that sends.

    It slows the pacer a second before it releases slots, so that its earlier requests no longer count when
    another process starts.
    """

    def __init__(self, store: Store, pace: PaceSpec, pacer: Pacer, log: Log, terms: Terms) -> None:
        assert pace.shared_limit
        self._store = store
        self._name = pace.shared_limit
        self._holder = str(uuid4())
        self._slots = slots_of(pace)
        self._rate_of_slot = pace.requests_per_second / self._slots
        self._release_delay = max(1.0, 1 / self._rate_of_slot)
        self._pacer = pacer
        self._terms = terms
        self._log = log
        self._held = 0  # in the store, at least
        self._used = 0
        self._lowered_at = 0.0
        self._warned_at = time.monotonic()
        pacer.set_rate(0)

    async def maintain(self) -> None:
        """Renew the share as long as requests need it."""
        while True:
            if not self._held:
                await self._pacer.starved.wait()
            try:
                await self._renew()
            except Exception as error:  # whatever it is: without renewals the run would wait in silence
                self._warn(f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._terms.renewal)

    async def _renew(self) -> None:
        """Renew the share, take free slots that are due, and use fewer before they are released."""
        requested = time.monotonic()
        is_released = requested >= self._lowered_at + self._release_delay
        kept = self._used if is_released else self._held
        wants = not self._pacer.idle_for(self._terms.idle)
        async with asyncio.timeout(self._terms.valid):
            share = await self._store.paces.renew(
                self._name, self._holder, self._slots, kept, wants, self._terms.expiry
            )
        used = min(share)
        if used < self._used:
            self._lowered_at = time.monotonic()
        self._held, self._used = share.held, used
        self._pacer.set_rate(used * self._rate_of_slot, until=requested + self._terms.valid)
        if not wants:
            self._pacer.starved.clear()
        if wants and not used:
            self._warn(f"all {self._slots} slots are used by other processes")
        elif used:
            self._warned_at = time.monotonic()

    async def release(self) -> None:
        """Release the share. One that cannot be released is free when it expires."""
        self._pacer.set_rate(0)
        if not self._held:
            return
        if not self._pacer.idle_for(self._release_delay):
            await asyncio.sleep(self._release_delay)
        with suppress(VelocityError, TimeoutError):
            async with asyncio.timeout(self._terms.valid):
                await self._store.paces.release(self._name, self._holder)

    def _warn(self, reason: str) -> None:
        if time.monotonic() >= self._warned_at + WARNING_INTERVAL:
            self._warned_at = time.monotonic()
            self._log.warning("Shared pace %s, %d slots here: %s", self._name, self._used, reason)


def slots_of(pace: PaceSpec) -> int:
    """Return the whole slots of a pace. Each is at least one request a second, if the pace is."""
    return max(1, int(pace.requests_per_second))
