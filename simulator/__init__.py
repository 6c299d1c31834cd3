"""A WMS that one can run: for the demo, the tests and the benchmarks."""

from simulator.dialect import DIALECTS, Dialect, JsonAnswer, OffsetQuery
from simulator.faults import Fault
from simulator.items import ITEMS, make_items
from simulator.records import GroundTruth, Row, ground_truth, load_rows
from simulator.scenario import Change, Scenario
from simulator.server import Server, serve
from simulator.stats import PageCount, Stats

__all__ = [
    "DIALECTS",
    "ITEMS",
    "Change",
    "Dialect",
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
]
