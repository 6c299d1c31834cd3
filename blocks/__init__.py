"""Prefect block types: the systems that the pipeline connects to, and their credentials."""

from blocks.slotting import SlottingEngine
from blocks.store import VelocityStore
from blocks.wms import WmsSource

__all__ = ["SlottingEngine", "VelocityStore", "WmsSource"]
