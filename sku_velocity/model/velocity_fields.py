"""The figures of a SKU by name: the columns of table `sku_velocity` after its key."""

from __future__ import annotations

from typing import Literal

VelocityField = Literal[
    "units_7",
    "units_28",
    "units_91",
    "lines_7",
    "lines_28",
    "lines_91",
    "active_days",
    "units_per_active_day",
    "units_per_calendar_day",
    "last_movement",
    "days_since_last_movement",
    "trend",
    "coefficient_of_variation",
    "rank_lines",
    "rank_units",
    "abc_lines",
    "abc_units",
    "xyz",
    "previous_abc_lines",
    "previous_abc_units",
    "previous_xyz",
    "class_changed",
    "completeness_7",
    "completeness_28",
    "completeness_91",
]

CLASSES: tuple[VelocityField, ...] = ("abc_lines", "abc_units", "xyz")
