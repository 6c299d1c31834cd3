"""The items of a master: the canonical SKUs of an ERP, their other names and their state."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sku_velocity.model.movement import Rule, SkuId


class ItemStatus(StrEnum):
    """Whether an item is in use: movements of a retired one are rejected, unless told otherwise."""

    ACTIVE = "active"
    RETIRED = "retired"


class Item(BaseModel):
    """One item of a master: its canonical id, the other names by which systems call it, and its state.

    `unit_volume` is the volume of one unit as the ERP tells it, in the ERP's own unit; never negative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku_id: SkuId
    status: ItemStatus
    aliases: tuple[str, ...] = ()
    description: Annotated[
        Annotated[str, Field(pattern=r"^[^\x00]*$", coerce_numbers_to_str=True)] | None,
        Rule("must be a text, a number or absent"),
    ] = None
    unit_volume: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | None,
        Rule("must be a number, 0 or more, or absent"),
    ] = None
