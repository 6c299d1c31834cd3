"""The behavior of a simulated WMS as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.dialect import DIALECTS, Dialect
from simulator.faults import Fault

if TYPE_CHECKING:
    from simulator.systems.system import System


@dataclass(frozen=True)
class Change:
    """A change of a warehouse's rows just before the n-th page is read (`request`, counted from 1).

    `delete` rows from `position` are replaced by `insert` new, valid ones. A request counts if rows are read
    for it: one that was throttled, refused or answered with an error does not.
    """

    request: int
    position: int
    delete: int = 0
    insert: int = 0
    warehouse: str = "WH-01"


@dataclass(frozen=True)
class Scenario:
    """The rows, formats and faults of a simulated WMS. The same value yields the same rows.

    Rows: each of `warehouses` has `records` movements of `skus` SKUs, spread over `period` from `start`, a
    share of `bad_ratio` of them bad, with additional `extra_fields`; or those of the `csv` file, which then
    defines the warehouses. A share of `aliased_ratio` refers to its SKU by an alias. The path /items serves
    `items`, if any, like an ERP. `changes` are made to all of these while they are read; to the items if
    their warehouse is "/items".

    Answers: `page_size` rows if the call sets no limit, never more than `max_page_size` (silently), with a
    total that is off by `total_delta`; with `shuffled`, in another order each time. Or those of a whole
    `system`, which serves only valid rows and ignores changes: of the other options it supports `token`,
    `requests_per_second` and `latency`.

    Traffic: `token` is required as a bearer token, or in `token_header`; more than `requests_per_second`
    in the last second are answered with 429 and the whole seconds to wait in `retry_after_header`; every
    answer but a refusal takes `latency` seconds; the first matching fault of `faults` applies to a page
    request.
    """

    records: int = 1000
    seed: int = 1
    warehouses: tuple[str, ...] = ("WH-01",)
    csv: Path | None = None
    start: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    period: timedelta = timedelta(days=7)
    skus: int = 500
    bad_ratio: float = 0.0
    aliased_ratio: float = 0.0
    extra_fields: tuple[str, ...] = ()
    items: tuple[Mapping[str, Any], ...] = ()
    changes: tuple[Change, ...] = ()

    system: System | None = None
    dialect: Dialect = DIALECTS["plain"]
    page_size: int = 100
    max_page_size: int | None = None
    total_delta: int = 0
    shuffled: bool = False

    token: str | None = None
    token_header: str | None = None
    requests_per_second: int | None = None
    retry_after_header: str = "Retry-After"
    latency: float = 0.0
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        unsupported = (self.bad_ratio, self.extra_fields, self.changes, self.max_page_size, self.total_delta)
        if self.system and any((*unsupported, self.shuffled, self.faults, self.token_header)):
            raise ValueError(
                "a system supports token, requests_per_second and latency, and no other fault or change"
            )
