"""The command `compact`."""

from __future__ import annotations

from typing import Annotated

from sku_velocity.cli.terminal import FLAT, TEXT, Output, perform, show_message
from sku_velocity.steps import compact as steps
from sku_velocity.steps.requests import CompactRequest


def compact(*, request: Annotated[CompactRequest, FLAT], output: Output = TEXT) -> int:
    """Join the exported files of each UTC date that is over and published whole into one file."""
    return perform(steps.compact, request, show_message, output)
