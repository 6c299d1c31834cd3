"""The command `presets`."""

from __future__ import annotations

from sku_velocity.cli.terminal import DONE
from sku_velocity.source.presets import preset_names


def presets() -> int:
    """List the presets that a spec file can start from (`preset: NAME`)."""
    print("\n".join(preset_names()))
    return DONE
