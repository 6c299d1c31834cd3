"""One row of the simulated WMS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its JSON `body`, and its values before any defect.

    `at` is the instant in UTC by which windows select it; `defect` names what is wrong with it.
    """

    body: bytes
    movement_id: str
    sku_id: str
    warehouse_id: str
    units_moved: int
    at: datetime
    defect: str | None = None
