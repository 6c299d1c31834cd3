"""Names of files and artifacts: safe, and never the same for two sources or warehouses."""

from __future__ import annotations

import re
import string
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sku_velocity.output.names import artifact_key, file_stem, partition

SAFE = set(string.ascii_letters + string.digits + "-_.")
sources = st.from_regex(r"[a-z0-9]{1,3}(-[a-z0-9]{1,3}){0,3}", fullmatch=True) | st.text("aA-.é", min_size=1)
warehouses = st.text("abAB1-. _é/", min_size=1, max_size=8) | st.text(min_size=1, max_size=200)
places = st.tuples(sources, warehouses)


@given(places, places)
@example(("c", "a-b"), ("b-c", "a"))
@example(("acme", "eu-1"), ("acme-eu", "1"))
@example(("acme", "WH-1"), ("acme", "wh-1"))
@example(("acme", "WH-1"), ("acme", "WH_1"))
@example(("acme", "倉庫"), ("acme", "倉"))
def test_two_places_share_neither_a_file_nor_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    same = one == other
    assert (file_stem(*one).lower() == file_stem(*other).lower()) is same
    assert (artifact_key("summary", *one) == artifact_key("summary", *other)) is same


@given(places)
def test_names_have_only_characters_that_every_file_system_and_prefect_accept(place: tuple[str, str]) -> None:
    assert set(file_stem(*place)) <= SAFE and not file_stem(*place).startswith(".")
    assert len(file_stem(*place)) <= 2 * (60 + 17) + 1
    assert re.fullmatch("[a-z0-9-]+", artifact_key("summary", *place))


def test_a_usual_name_is_legible() -> None:
    assert file_stem("acme", "WH-01") == "acme.WH-01"
    assert artifact_key("summary", "acme", "WH-01") == "acme--wh-01--summary"
    assert artifact_key("rejects", "acme") == "acme--rejects"


@given(sources, sources, warehouses)
def test_a_key_of_a_source_is_never_one_of_a_warehouse(one: str, other: str, warehouse: str) -> None:
    assert artifact_key("rejects", one) != artifact_key("rejects", other, warehouse)


SCHEMA = pa.schema([("source", pa.string()), ("warehouse", pa.string()), ("date", pa.date32())])
HOSTILE = [
    "../..",
    ".",
    "a/b\\c",
    "a=b&c",
    "%41",
    "100%",
    "a+b c",
    "é/ü",
    "倉庫",
    "*?[x]{y}",
    "'\"`$;|<>",
    "~",
    "\r\n\x01",
]
HOSTILE += [
    "007",
    "1e5",
    "true",
    "2026-03-01",
    "NaN",
    "x" * 255,
    "wh-1",
    "WH-1",
    "\u202e\x85",
    "s3://a:b@c/d?e#f",
]


def write(root: Path, warehouses: list[str]) -> None:
    for warehouse in warehouses:
        directory = root / partition("source", "acme") / partition("warehouse", warehouse) / "date=2026-03-01"
        directory.mkdir(parents=True)
        pq.write_table(pa.table({"warehouse_id": [warehouse]}), directory / "a.parquet")


@pytest.mark.parametrize("warehouses", [HOSTILE])
def test_readers_of_partitions_get_the_original_values(tmp_path: Path, warehouses: list[str]) -> None:
    write(tmp_path, warehouses)
    short = [each for each in warehouses if len(each) < 100]
    pairs = {(each, each) for each in short}
    table = ds.dataset(tmp_path, partitioning=ds.partitioning(SCHEMA, flavor="hive")).to_table()
    found = zip(table["warehouse"].to_pylist(), table["warehouse_id"].to_pylist(), strict=True)
    assert {each for each in found if len(each[1]) < 100} == pairs
    types = "{'source': VARCHAR, 'warehouse': VARCHAR, 'date': DATE}"
    query = f"FROM read_parquet('{tmp_path}/*/*/*/*.parquet', hive_partitioning=true, hive_types={types})"
    rows = duckdb.sql(f"SELECT warehouse, warehouse_id {query}").fetchall()
    assert {row for row in rows if len(row[1]) < 100} == pairs
    assert {row[1] for row in rows} == set(warehouses)  # the column has even what is too long for a path


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_a_partition_is_one_name_that_no_other_value_has(one: str, other: str) -> None:
    name = partition("warehouse", one)
    assert "/" not in name and len(name.encode()) <= 255 and not set(name) & set("\x00\n*?[]{}:#")
    assert (one == other) == (name == partition("warehouse", other))


def test_a_usual_partition_is_legible() -> None:
    assert partition("warehouse", "WH-01") == "warehouse=WH-01"
    assert partition("warehouse", "Stores - Köln") == "warehouse=Stores%20-%20Köln"
