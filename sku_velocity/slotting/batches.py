"""What goes to a slotting engine in one request, under which key, and what it answers about each record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from sku_velocity.errors import EngineContractError, EngineUnavailableError
from sku_velocity.model.push import Batch
from sku_velocity.text import quote

NAMED_IDS = 5  # of those that an answer should not hold, or lacks
NO_REASON = "the engine gave no reason"


@dataclass(frozen=True)
class Answer:
    """What became of a batch: the ids that the engine took, and for each other one why it did not.

    `requests` counts what was sent for it.
    """

    accepted: tuple[str, ...]
    rejected: Mapping[str, str]
    requests: int = 1


def read_answer(body: bytes, batch: Batch) -> Answer:
    """What an engine's answer says of each record that it was sent.

    Raises EngineUnavailableError where the answer is not JSON, and EngineContractError where it is of another
    shape or does not tell of each record exactly once.
    """
    try:
        told = _Told.model_validate_json(body)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise EngineUnavailableError(f"the answer is not JSON; it says: {quote(body)}") from error
        raise EngineContractError(
            "the answer is not of the shape of docs/slotting.md "
            f"({error.errors()[0]['msg']}); it says: {quote(body)}"
        ) from error
    rejected = {each.id: each.reason for each in told.rejected}
    _account(batch.ids, [*told.accepted, *(each.id for each in told.rejected)])
    return Answer(tuple(told.accepted), rejected)


class _Rejected(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True)

    id: str
    reason: str = NO_REASON


class _Told(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True)

    accepted: list[str]
    rejected: list[_Rejected]


def _account(sent: Sequence[str], told: Sequence[str]) -> None:
    missing, surplus = Counter(sent) - Counter(told), Counter(told) - Counter(sent)
    if missing or surplus:
        raise EngineContractError(
            f"the answer does not tell of each of {len(sent)} records once: {_name(missing)} missing, "
            f"{_name(surplus)} too many: the engine must list each id it was sent as accepted or rejected"
        )


def _name(ids: Counter[str]) -> str:
    named = ", ".join(list(ids)[:NAMED_IDS])
    return f"{ids.total()} ({named}{', …' if len(ids) > NAMED_IDS else ''})" if ids else "none"
