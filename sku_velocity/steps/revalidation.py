"""The validation of dead letters by the current spec."""

from __future__ import annotations

from collections.abc import Iterable

from sku_velocity.errors import UnreadableBodyError
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.dead_letter import ReplayOutcome, RevalidatedRecord
from sku_velocity.model.master import Master
from sku_velocity.model.movement import DeadLetter, Reason
from sku_velocity.model.run import SyncRun
from sku_velocity.source.spec import RecordsSpec, SourceSpec
from sku_velocity.source.validation import PageReader


def revalidate(
    spec: SourceSpec, run: SyncRun, master: Master | None, letters: Iterable[DeadLetter]
) -> list[RevalidatedRecord]:
    """Validate letters of a run as records of its window, by this spec.

    Each is read on its own, so that an unreadable one does not affect the others.
    """
    bare = spec.model_copy(update={"records": RecordsSpec()})  # a letter has no envelope
    reader = PageReader(bare, run.warehouse, run.window, master)
    return [_revalidate(reader, letter) for letter in letters]


def _revalidate(reader: PageReader, letter: DeadLetter) -> RevalidatedRecord:
    place = letter.position
    try:
        page = reader.read(f"[{letter.record_json}]".encode())
    except UnreadableBodyError as error:
        return RevalidatedRecord(place, ReplayOutcome.REJECTED, reasons=(Reason("", str(error)),))
    if len(page.records) != 1:
        return RevalidatedRecord(place, ReplayOutcome.REJECTED, reasons=(Reason("", "is not one record"),))
    return _outcome_of(place, reader.validate(page, Page(place, 1)))


def _outcome_of(place: int, result: PageResult) -> RevalidatedRecord:
    if result.movements:
        return RevalidatedRecord(place, ReplayOutcome.LOADED, result.movements[0])
    if result.dead_letters:
        return RevalidatedRecord(place, ReplayOutcome.REJECTED, reasons=result.dead_letters[0].reasons)
    return RevalidatedRecord(place, ReplayOutcome.FILTERED if result.filtered else ReplayOutcome.TRIMMED)
