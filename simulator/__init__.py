"""A simulated WMS and slotting engine, for the demo, the tests and the benchmarks."""

from simulator.dialect import DIALECTS, Dialect, JsonAnswer, OffsetQuery
from simulator.faults import Fault
from simulator.items import ITEMS, make_items
from simulator.records import GroundTruth, ground_truth, load_rows
from simulator.row import Row
from simulator.scenario import Change, Scenario
from simulator.server import EngineServer, Server, serve, serve_engine
from simulator.slotting import EngineScenario
from simulator.stats import PageCount, Stats

__all__ = [
    "DIALECTS",
    "ITEMS",
    "Change",
    "Dialect",
    "EngineScenario",
    "EngineServer",
    "Fault",
    "GroundTruth",
    "JsonAnswer",
    "OffsetQuery",
    "PageCount",
    "Row",
    "Scenario",
    "Server",
    "Stats",
    "ground_truth",
    "load_rows",
    "make_items",
    "serve",
    "serve_engine",
]
