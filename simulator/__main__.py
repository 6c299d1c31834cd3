"""`python -m simulator [engine]`: a simulated WMS or slotting engine, whose first line tells its address."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from simulator.dialect import DIALECTS
from simulator.faults import Fault
from simulator.items import make_items
from simulator.scenario import Scenario
from simulator.server import EngineServer, Server
from simulator.slotting import EngineScenario
from simulator.systems import SYSTEMS

SHAPES = ("plain", "envelope", "nested", "header", "bare")
RETIRED_RATIO = 0.02

app = App(name="simulator", version_flags=[])

Texts = Annotated[list[str] | None, Parameter(negative=())]


@app.default
def main(
    *,
    port: int = 0,
    records: int | None = None,
    csv: Path | None = None,
    seed: int = 1,
    warehouse: Texts = None,
    bad_ratio: float = 0.0,
    aliased_ratio: float = 0.0,
    extra_field: Texts = None,
    items: int = 0,
    shape: str = "plain",
    page_size: int = 100,
    max_page_size: int | None = None,
    total_delta: int = 0,
    token: str | None = None,
    token_header: str | None = None,
    requests_per_second: int | None = None,
    retry_after_header: str = "Retry-After",
    latency_ms: float = 0.0,
    fault: Texts = None,
    fault_ratio: Texts = None,
) -> None:
    """Serve SKU movements as a WMS would, well or badly, until SIGINT or SIGTERM.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 is a free one.
    records
        Records that each warehouse gets (default 1000).
    csv
        Serve the lines of this file instead, which may be gzipped.
    seed
        The same seed, the same records and faults.
    warehouse
        A warehouse to serve (default WH-01); may be repeated.
    bad_ratio
        Share of records that break a rule, of eight kinds.
    aliased_ratio
        Share of records that name their SKU by an alias.
    extra_field
        Name of one more field in each record; may be repeated.
    items
        Items of an ERP's master at the path /items: the first SKUs, 2% of them retired, and as many bad as
        of the records.
    shape
        What an answer looks like: plain, envelope, nested, header or bare; or a whole system, by the name of
        the preset that describes it (`python -m flows presets`).
    page_size
        Records that a call gets which names no limit.
    max_page_size
        Never give more records than this, without a word.
    total_delta
        Tell a total that is wrong by so many records.
    token
        Ask for this token.
    token_header
        Ask for the token in this header, not as a bearer token.
    requests_per_second
        Answer what goes beyond this in any second with 429.
    retry_after_header
        Header that tells the whole seconds to wait.
    latency_ms
        Milliseconds that every answer takes.
    fault
        KIND[:SECONDS]@[WAREHOUSE/]OFFSET[xTIMES], OFFSET * for any, until cleared without TIMES; may be
        repeated. Kinds: 500, 502, 503, 429, 401, cut, reset, hangup, html, redirect, slow, drip, blackhole.
    fault_ratio
        KIND[:SECONDS]@[WAREHOUSE/]RATIO[xTIMES], once per offset without TIMES; may be repeated.
    """
    if csv is not None and (records is not None or warehouse):
        raise ValueError("--csv brings its own records and warehouses: drop --records and --warehouse")
    if shape not in (*SHAPES, *SYSTEMS):
        raise ValueError(f"unknown shape {shape}: known are {', '.join((*SHAPES, *SYSTEMS))}")
    _run(
        Scenario(
            records=1000 if records is None else records,
            seed=seed,
            warehouses=tuple(warehouse or ["WH-01"]),
            csv=csv,
            bad_ratio=bad_ratio,
            aliased_ratio=aliased_ratio,
            extra_fields=tuple(extra_field or ()),
            items=make_items(items, seed, RETIRED_RATIO, bad_ratio),
            system=SYSTEMS.get(shape),
            dialect=DIALECTS["plain" if shape in SYSTEMS else shape],
            page_size=page_size,
            max_page_size=max_page_size,
            total_delta=total_delta,
            token=token,
            token_header=token_header,
            requests_per_second=requests_per_second,
            retry_after_header=retry_after_header,
            latency=latency_ms / 1000,
            faults=(*map(Fault.parse, fault or ()), *map(Fault.parse_ratio, fault_ratio or ())),
        ),
        port,
    )


@app.command
def engine(
    *,
    port: int = 0,
    seed: int = 1,
    token: str | None = None,
    reject_ratio: float = 0.0,
    requests_per_second: int | None = None,
    latency_ms: float = 0.0,
    fault: Texts = None,
    fault_ratio: Texts = None,
) -> None:
    """Take movements and velocity classes as a slotting engine would, until SIGINT or SIGTERM.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 is a free one.
    seed
        The same seed, the same rejections and faults.
    token
        Ask for this bearer token.
    reject_ratio
        Share of records that are rejected.
    requests_per_second
        Answer what goes beyond this in any second with 429.
    latency_ms
        Milliseconds from taking a batch to answering it.
    fault
        KIND[:SECONDS]@NUMBER[xTIMES], NUMBER counts new keys from 0, * is any; until cleared without TIMES;
        may be repeated.
    fault_ratio
        KIND[:SECONDS]@RATIO[xTIMES], once per key without TIMES; may be repeated.
    """
    scenario = EngineScenario(
        seed=seed,
        token=token,
        reject_ratio=reject_ratio,
        requests_per_second=requests_per_second,
        latency=latency_ms / 1000,
        faults=(*map(Fault.parse, fault or ()), *map(Fault.parse_ratio, fault_ratio or ())),
    )
    server = EngineServer(scenario, port)
    _serve(server, lambda: {"url": server.url})


def _run(scenario: Scenario, port: int) -> None:
    server = Server(scenario, port)
    _serve(server, lambda: _describe(server))


def _serve(server: Server | EngineServer, describe: Callable[[], dict[str, Any]]) -> None:
    # uvicorn, when it has closed, raises the signal that ended it once more: that, too, is a clean end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    server.run(on_ready=lambda: print(json.dumps(describe()), flush=True))


def _describe(server: Server) -> dict[str, Any]:
    """Where the simulator is, and what a reader must find in each warehouse."""
    return {
        "url": server.url,
        "warehouses": {name: _count(server, name) for name in server.simulator.dataset.warehouses},
    }


def _count(server: Server, warehouse: str) -> dict[str, int]:
    truth = server.ground_truth(warehouse)
    return {"records": truth.records, "valid": truth.valid, "bad": truth.bad, "units": truth.units}


if __name__ == "__main__":
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        sys.exit(2)
