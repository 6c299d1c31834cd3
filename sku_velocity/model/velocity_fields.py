"""The figures of a SKU: the columns of table `sku_velocity` after its key. docs/velocity.md defines each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

Kind = Literal["text", "whole", "number", "flag", "instant", "date"]


class VelocityField(NamedTuple):
    """A figure: its name, the kind of its values, and their unit; None for a number without one."""

    name: str
    kind: Kind
    unit: str | None = None
    is_required: bool = False


def _text(*names: str) -> list[VelocityField]:
    return [VelocityField(name, "text") for name in names]


HORIZONS = (7, 28, 91)  # days: a week, four of them, a quarter
CLASSES = ("abc_lines", "abc_units", "xyz")
PENDING = tuple(f"{name}_pending_since" for name in CLASSES)
PREVIOUS = tuple(f"previous_{name}" for name in CLASSES)

FIELDS = (
    VelocityField("first_movement", "instant"),
    VelocityField("last_movement", "instant"),
    VelocityField("age_days", "whole", "days"),
    VelocityField("days_since_last_movement", "whole", "days"),
    *(VelocityField(f"{what}_{days}", "whole", what) for what in ("units", "lines") for days in HORIZONS),
    VelocityField("orders_91", "whole", "orders"),
    VelocityField("lines_per_order", "number", "lines/order"),
    VelocityField("open_days", "number", "days"),
    VelocityField("active_days", "whole", "days"),
    VelocityField("units_per_active_day", "number", "units/day"),
    VelocityField("units_per_open_day", "number", "units/day"),
    VelocityField("lines_per_open_day", "number", "lines/day"),
    VelocityField("p95_daily_units", "whole", "units"),
    VelocityField("trend", "number"),
    VelocityField("coefficient_of_variation", "number"),
    VelocityField("adi", "number", "days"),
    VelocityField("cv2", "number"),
    *_text("demand_class"),
    VelocityField("unit_volume", "number", "volume"),
    VelocityField("cube_91", "number", "volume"),
    VelocityField("cube_per_order", "number", "volume/order"),
    VelocityField("seasonality", "number"),
    VelocityField("rank_lines", "whole"),
    VelocityField("rank_units", "whole"),
    *_text("raw_abc_lines", "raw_abc_units", "raw_xyz", "provisional_abc_lines", "provisional_abc_units"),
    *_text(*CLASSES),
    *(VelocityField(name, "date") for name in PENDING),
    *_text(*PREVIOUS),
    VelocityField("class_changed", "flag", None, True),
    *(VelocityField(f"completeness_{days}", "number", "share", True) for days in HORIZONS),
)
NAMES = tuple(each.name for each in FIELDS)

if TYPE_CHECKING:
    FigureName = str
else:
    FigureName = Literal[NAMES]
