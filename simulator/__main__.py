"""`python -m simulator [engine]`: run a simulated WMS or slotting engine; the first line holds its URL."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from simulator.depot import Depot
from simulator.dialect import DIALECTS
from simulator.faults import Fault
from simulator.items import make_items
from simulator.scenario import Scenario
from simulator.server import HOST, EngineServer, LoopbackServer, Server
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
    host: str = HOST,
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
    """Serve SKU movements like a WMS, with or without faults, until SIGINT or SIGTERM.

    Parameters
    ----------
    port
        The port. Default: a free port.
    host
        The address of this machine to serve at; 0.0.0.0 in a container.
    records
        Records per warehouse. Default: 1000.
    csv
        Serve the lines of this file instead; it may be gzipped.
    seed
        The same seed yields the same records and faults.
    warehouse
        A warehouse to serve; may be repeated. Default: WH-01.
    bad_ratio
        Share of records that are invalid, in eight ways.
    aliased_ratio
        Share of records that refer to their SKU by an alias.
    extra_field
        Name of an additional field in each record; may be repeated.
    items
        Number of items of an ERP's master at the path /items: the first SKUs, 2% of them retired, and a
        share of `bad_ratio` invalid.
    shape
        Shape of the answers: plain, envelope, nested, header or bare; or a whole system, by the name of its
        preset (`sku-velocity presets`).
    page_size
        Records per page for requests without a limit.
    max_page_size
        Silently limit pages to this many records.
    total_delta
        Report a total that is off by this many records.
    token
        Require this token.
    token_header
        Require the token in this header. Omit for a bearer token.
    requests_per_second
        Answer requests beyond this rate with 429.
    retry_after_header
        Header with the whole seconds to wait.
    latency_ms
        Milliseconds before each answer.
    fault
        KIND[:SECONDS]@[WAREHOUSE/]OFFSET[xTIMES]; OFFSET * is any; without TIMES, until cleared; may be
        repeated. Kinds: 500, 502, 503, 429, 401, cut, reset, hangup, html, redirect, slow, drip, blackhole.
    fault_ratio
        KIND[:SECONDS]@[WAREHOUSE/]RATIO[xTIMES]; without TIMES, once per offset; may be repeated.
    """
    if csv is not None and (records is not None or warehouse):
        raise ValueError("--csv defines the records and warehouses: omit --records and --warehouse")
    if shape not in (*SHAPES, *SYSTEMS):
        raise ValueError(f"unknown shape {shape}: expected one of {', '.join((*SHAPES, *SYSTEMS))}")
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
        host,
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
    """Accept movements and velocity classes like a slotting engine, until SIGINT or SIGTERM.

    Parameters
    ----------
    port
        Port on 127.0.0.1. Default: a free port.
    seed
        The same seed yields the same rejections and faults.
    token
        Require this bearer token.
    reject_ratio
        Share of records to reject.
    requests_per_second
        Answer requests beyond this rate with 429.
    latency_ms
        Milliseconds from taking a batch to answering it.
    fault
        KIND[:SECONDS]@NUMBER[xTIMES]; NUMBER counts new keys from 0, * is any; without TIMES, until cleared;
        may be repeated.
    fault_ratio
        KIND[:SECONDS]@RATIO[xTIMES]; without TIMES, once per key; may be repeated.
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


@app.command
def depot(*, port: int = 0, seed: int = 1, moves: int = 2000, token: str | None = None) -> None:
    """Serve one day of a realistic WMS: lower-case SKUs, packages, signed quantities, late postings.

    `POST /_control/post-late` makes the late postings visible.

    Parameters
    ----------
    port
        Port on 127.0.0.1. Default: a free port.
    seed
        The same seed yields the same moves.
    moves
        Stock moves of the day.
    token
        Require this bearer token.
    """
    server = LoopbackServer(Depot(seed, moves, token), port)
    _serve(server, lambda: {"url": server.url, "moves": len(server.simulator.moves)})


def _run(scenario: Scenario, port: int, host: str) -> None:
    server = Server(scenario, port, host)
    _serve(server, lambda: _describe(server))


def _serve(server: LoopbackServer[Any], describe: Callable[[], dict[str, Any]]) -> None:
    # After closing, uvicorn raises the signal again: that is a clean exit, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    server.run(on_ready=lambda: print(json.dumps(describe()), flush=True))


def _describe(server: Server) -> dict[str, Any]:
    """Return the simulator's URL, and what a reader must find in each warehouse."""
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
