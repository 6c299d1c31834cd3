"""Simulated systems, each by the name of the preset that describes it."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.systems.django import (
    GreaterWms,
    InvenTree,
    RestFramework,
    RestFrameworkCursor,
    RestFrameworkPages,
)
from simulator.systems.frappe import ErpNext
from simulator.systems.netsuite import NetSuite
from simulator.systems.odata import Dynamics, SapV2, SapV4
from simulator.systems.odoo import OdooJson2, OdooJsonRpc
from simulator.systems.oracle import OracleFusion, OracleWms
from simulator.systems.plain import JsonServer, JsonServer1, PlainArray
from simulator.systems.postgrest import PostgRest
from simulator.systems.system import System
from simulator.systems.tables import Datasette, PocketBase
from simulator.systems.tryton import Tryton, Tryton8

SYSTEMS: Mapping[str, System] = {
    "datasette": Datasette(),
    "drf": RestFramework(),
    "drf-cursor": RestFrameworkCursor(),
    "drf-page-number": RestFrameworkPages(),
    "dynamics365": Dynamics(),
    "erpnext": ErpNext(),
    "greaterwms": GreaterWms(zone="Asia/Shanghai"),
    "inventree": InvenTree(),
    "json-server": JsonServer(),
    "json-server-1": JsonServer1(),
    "netsuite-suiteql": NetSuite(zone="America/Los_Angeles"),
    "odoo-json2": OdooJson2(),
    "odoo-jsonrpc": OdooJsonRpc(),
    "oracle-fusion": OracleFusion(),
    "oracle-wms-cloud": OracleWms(),
    "plain-array": PlainArray(),
    "pocketbase": PocketBase(),
    "postgrest": PostgRest(),
    "sap-odata-v2": SapV2(),
    "sap-odata-v4": SapV4(),
    "tryton": Tryton(),
    "tryton-8": Tryton8(),
}

__all__ = ["SYSTEMS", "System"]
