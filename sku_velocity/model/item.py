"""The items of a master: the canonical SKUs of an ERP, their aliases and their status."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sku_velocity.model.movement import Rule, SkuId, UnitsMoved

Amount = Annotated[
    Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, Rule("must be a number, 0 or more, or absent")
]
PackSize = Annotated[
    Annotated[UnitsMoved, Field(ge=1)] | None, Rule("must be a whole number, 1 or more, or absent")
]


class ItemStatus(StrEnum):
    """Whether an item is in use: movements of a retired one are rejected, unless the run lets them pass."""

    ACTIVE = "active"
    RETIRED = "retired"


class Item(BaseModel):
    """One item of a master: its canonical id, its aliases in other systems, and its status.

    `unit_volume` and `weight` are those of one unit as the ERP reports them, in the ERP's own units; never
    negative. `units_per_case` and `units_per_pallet` count the units in a full one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku_id: SkuId
    status: ItemStatus
    aliases: tuple[str, ...] = ()
    description: Annotated[
        Annotated[str, Field(pattern=r"^[^\x00]*$", coerce_numbers_to_str=True)] | None,
        Rule("must be a string, a number or absent"),
    ] = None
    unit_volume: Amount = None
    weight: Amount = None
    units_per_case: PackSize = None
    units_per_pallet: PackSize = None
