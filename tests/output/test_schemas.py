"""The columns of the Parquet files are those of the store, with its types and its nulls."""

from __future__ import annotations

import pyarrow as pa
import pytest
from sqlalchemy import BigInteger, Boolean, Date, Float, Integer, Table, Text

from sku_velocity.output.schemas import MOVEMENTS, VELOCITY
from sku_velocity.store.tables import (
    ForeignText,
    JsonText,
    UtcDateTime,
    metadata,
    movements,
    velocity_figures,
)

TYPES = {
    Text: pa.string(),
    ForeignText: pa.string(),
    JsonText: pa.string(),
    BigInteger: pa.int64(),
    Integer: pa.int64(),
    Float: pa.float64(),
    Boolean: pa.bool_(),
    Date: pa.date32(),
    UtcDateTime: pa.timestamp("us", tz="UTC"),
}
OTHERS = {"run_id": "sync_runs", "publication": "published_ranges", "published_at": "published_ranges"}


@pytest.mark.parametrize(("schema", "table"), [(MOVEMENTS, movements), (VELOCITY, velocity_figures)])
def test_a_column_has_the_type_and_the_nulls_of_the_store(schema: pa.Schema, table: Table) -> None:
    for field in schema:
        column = table.c.get(field.name)
        if column is None:
            column = metadata.tables[OTHERS[field.name]].c[field.name]
        assert (field.type, field.nullable) == (TYPES[type(column.type)], column.nullable), field.name


def test_all_columns_of_the_tables_are_exported() -> None:
    assert set(movements.c.keys()) - {"run_key"} == set(MOVEMENTS.names) - OTHERS.keys()
    assert velocity_figures.c.keys() == VELOCITY.names


def test_units_are_in_the_metadata() -> None:
    assert MOVEMENTS.field("units_moved").metadata == {b"unit": b"units"}
    assert VELOCITY.field("units_per_active_day").metadata == {b"unit": b"units/day"}
