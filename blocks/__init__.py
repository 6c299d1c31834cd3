"""Whom the pipeline talks to, and with which secret: block types for the Prefect UI."""

from blocks.slotting import SlottingEngine
from blocks.store import VelocityStore
from blocks.wms import WmsSource

__all__ = ["SlottingEngine", "VelocityStore", "WmsSource"]
