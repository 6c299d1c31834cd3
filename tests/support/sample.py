"""The sample files, and which of their rows are valid movements."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.support.checkout import CHECKOUT

SMALL = (CHECKOUT / "tests/data/movements.csv", 50)
REAL = (CHECKOUT.parent / "shared/data/online_retail_10k.csv.gz", 500)  # not part of the project
SAMPLES = [sample for sample in (SMALL, REAL) if sample[0].exists()]


def valid_rows(path: Path) -> pd.DataFrame:
    """Return the rows of a file that are valid movements, by an independent implementation of the rules."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    units = pd.to_numeric(frame.units_moved, errors="coerce")
    zoned = frame.timestamp_utc.str.fullmatch(r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d:?\d\d)")
    is_instant = pd.to_datetime(frame.timestamp_utc.where(zoned), errors="coerce", utc=True).notna()
    named = frame.sku_id.str.fullmatch(r"[A-Z0-9-]+") & (frame.warehouse_id.str.strip() != "")
    valid = frame[named & (units >= 0) & (units % 1 == 0) & is_instant]
    return valid.assign(units_moved=units[valid.index].astype(int))
