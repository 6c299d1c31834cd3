"""The replay of a run's dead letters: validate them again by the current spec, in transactions of `BATCH`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from sku_velocity.model.dead_letter import DeadLetterFilter, ReplayOutcome
from sku_velocity.model.run import SyncRun
from sku_velocity.source.digest import mapping_digest
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.revalidation import revalidate
from sku_velocity.store import Store

BATCH = 500  # letters per transaction
NAMED_REASONS = 20


class RunReplay(BaseModel):
    """The result of a replay of one run's dead letters.

    `validated` letters were `loaded`, `trimmed` or `filtered`; the others stay open: `rejected` by the
    current spec too, for `reasons`; `repeated` because the run already holds their record id; or `waiting`
    because their chunk is being pushed to a slotting engine. Of those loaded, `published` are visible, and
    `unsent` belong to chunks that were already pushed; the next push sends them. `error` says why the run
    was not replayed.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    warehouse: str
    window: str
    validated: int = 0
    loaded: int = 0
    trimmed: int = 0
    filtered: int = 0
    rejected: int = 0
    repeated: int = 0
    waiting: int = 0
    published: int = 0
    unsent: int = 0
    reasons: dict[str, int] = {}
    error: str | None = None


class ReplayReport(BaseModel):
    """The result of a replay, run by run."""

    model_config = ConfigDict(frozen=True)

    source: str
    runs: list[RunReplay]

    def total(self, count: str) -> int:
        """Return the sum of one of the counts of `RunReplay` over all runs."""
        return sum(getattr(run, count) for run in self.runs)


async def replay_run(
    store: Store, spec: SourceSpec, run: SyncRun, criteria: DeadLetterFilter, by: str
) -> RunReplay:
    """Validate the letters of one run again, and insert the valid ones at their positions.

    SKUs are mapped by the same version of the master as the rest of the run. A second call continues with
    the open letters. Raises the errors of the store, and ConfigurationError if that version was pruned.
    """
    master = await store.masters.load(run.master) if run.master else None
    of_run, position = replace(criteria, run=run.id), -1
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    while letters := await store.replays.after(of_run, position, BATCH):
        validated = revalidate(spec, run, master, letters)
        counts += await store.replays.apply(run.id, validated, by, mapping_digest(spec))
        rejected = [each for each in validated if each.outcome is ReplayOutcome.REJECTED]
        counts += Counter(validated=len(validated), rejected=len(rejected))
        reasons.update("; ".join(map(str, each.reasons)) for each in rejected)
        position = letters[-1].position
    return _report(run, counts, reasons.most_common(NAMED_REASONS))


def _report(run: SyncRun, counts: Counter[str], reasons: Sequence[tuple[str, int]]) -> RunReplay:
    return RunReplay(
        run=run.id, warehouse=run.warehouse, window=str(run.window), **counts, reasons=dict(reasons)
    )
