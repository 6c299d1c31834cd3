"""The response of a slotting engine to one request: the result of each record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from sku_velocity.errors import EngineContractError, EngineUnavailableError
from sku_velocity.masking import hide
from sku_velocity.model.push import Batch
from sku_velocity.text import quote

NAMED_IDS = 5  # of the ids that a response lacks, or should not contain
NO_REASON = "the engine gave no reason"


@dataclass(frozen=True)
class Answer:
    """The result of a batch: the ids that the engine accepted, and the reason for each rejected one.

    `requests` counts the requests that the batch took.
    """

    accepted: tuple[str, ...]
    rejected: Mapping[str, str]
    requests: int = 1


def read_answer(body: bytes, batch: Batch) -> Answer:
    """Parse an engine's response to a batch.

    Raises EngineUnavailableError if it is not JSON, and EngineContractError if it has another shape or does
    not list each record exactly once.
    """
    try:
        reported = _Answer.model_validate_json(body)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise EngineUnavailableError(
                f"the response is not JSON; it starts with: {quote(body)}"
            ) from error
        raise EngineContractError(
            "the response does not have the shape described in docs/slotting.md "
            f"({error.errors()[0]['msg']}); it starts with: {quote(body)}"
        ) from error
    rejected = {each.id: hide(each.reason) for each in reported.rejected}
    _check_ids(batch.ids, [*reported.accepted, *(each.id for each in reported.rejected)])
    return Answer(tuple(reported.accepted), rejected)


class _Rejected(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True)

    id: str
    reason: str = NO_REASON


class _Answer(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True)

    accepted: list[str]
    rejected: list[_Rejected]


def _check_ids(sent: Sequence[str], reported: Sequence[str]) -> None:
    missing, surplus = Counter(sent) - Counter(reported), Counter(reported) - Counter(sent)
    if missing or surplus:
        raise EngineContractError(
            f"the response does not list each of {len(sent)} records once: {_name(missing)} missing, "
            f"{_name(surplus)} too many: the engine must list each id it received as accepted or rejected"
        )


def _name(ids: Counter[str]) -> str:
    named = quote(", ".join(list(ids)[:NAMED_IDS]).encode("utf-8", "replace"))
    return f"{ids.total()} ({named}{', …' if len(ids) > NAMED_IDS else ''})" if ids else "none"
