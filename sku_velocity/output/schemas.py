"""The columns of the Parquet files, the same from the first file on, whatever rows it holds.

Nullable as in the store. A number's unit is in its field's metadata, as `unit`: `units` are units of the
SKU, `lines` are movements, `share` is from 0 to 1, `volume` is in the master's unit.
"""

from __future__ import annotations

import pyarrow as pa

from sku_velocity.model.velocity_fields import FIELDS

TEXT, WHOLE, NUMBER, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
INSTANT = pa.timestamp("us", tz="UTC")


def _column(name: str, kind: pa.DataType, unit: str | None = None, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable, {"unit": unit} if unit else None)


# Their source and their UTC date are in the path. Those of the table `movements` are read by these names.
MOVEMENTS = pa.schema(
    [
        _column("warehouse_id", TEXT),
        _column("sku_id", TEXT),
        _column("units_moved", WHOLE, "units"),
        _column("timestamp_utc", INSTANT),
        _column("movement_id", TEXT, nullable=True),
        _column("movement_type", TEXT, nullable=True),
        _column("order_id", TEXT, nullable=True),
        _column("location_id", TEXT, nullable=True),
        _column("unit_of_measure", TEXT, nullable=True),
        _column("direction", TEXT, nullable=True),
        _column("extra", TEXT, nullable=True),
        _column("run_id", TEXT),
        _column("position", WHOLE),
        _column("publication", WHOLE),
        _column("published_at", INSTANT),
    ]
)

_KINDS = {
    "text": TEXT,
    "whole": WHOLE,
    "number": NUMBER,
    "flag": FLAG,
    "instant": INSTANT,
    "date": pa.date32(),
}

# The columns of the table `sku_velocity`.
VELOCITY = pa.schema(
    [
        _column("source", TEXT),
        _column("warehouse_id", TEXT),
        _column("as_of", pa.date32()),
        _column("sku_id", TEXT),
        *(_column(each.name, _KINDS[each.kind], each.unit, nullable=not each.is_required) for each in FIELDS),
    ]
)
