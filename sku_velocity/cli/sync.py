"""The commands `sync` and `sync-master`."""

from __future__ import annotations

from typing import Annotated

from sku_velocity.cli.terminal import FLAT, TEXT, Output, perform_run
from sku_velocity.steps import sync as steps
from sku_velocity.steps.requests import SyncMasterRequest, SyncRequest


def sync(*, request: Annotated[SyncRequest, FLAT], output: Output = TEXT) -> int:
    """Read one window of one warehouse, prove it whole, and publish it."""
    return perform_run(steps.sync, request, request.warehouse, output)


def sync_master(*, request: Annotated[SyncMasterRequest, FLAT], output: Output = TEXT) -> int:
    """Read an ERP's items, prove that none is missing, and publish them."""
    return perform_run(steps.sync_master, request, "items", output)
