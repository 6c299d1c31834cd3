"""The replay of a run's dead letters: validated again by the current spec, batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from sku_velocity.model.dead_letter import DeadLetterFilter, ReplayOutcome
from sku_velocity.model.run import SyncRun
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.revalidation import revalidate
from sku_velocity.store import Store

BATCH = 500  # letters of one transaction
NAMED_REASONS = 20


class RunReplay(BaseModel):
    """What a replay of one run's dead letters came to.

    `validated` letters were `loaded`, `trimmed` or `filtered`; the others stay open: `rejected` by the
    current spec too, for `reasons`; `repeated`, for the run holds their record id already; or `waiting`, for
    their chunk is on its way to a slotting engine. Of those loaded `published` are visible, and `unsent`
    belong to chunks that had been pushed, whose next push sends them. `error` is why the run was left as it
    is.
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
    """What a replay came to, run by run."""

    model_config = ConfigDict(frozen=True)

    source: str
    runs: list[RunReplay]

    def total(self, count: str) -> int:
        """One of the counts of `RunReplay`, over all runs."""
        return sum(getattr(run, count) for run in self.runs)


async def replay_run(
    store: Store, spec: SourceSpec, run: SyncRun, wanted: DeadLetterFilter, by: str
) -> RunReplay:
    """Judge the letters of one run anew, and give the valid ones their places.

    They are mapped by the version of the master that all of the run is mapped by. A second call finds what
    the first has left. Raises what the store raises, and ConfigurationError where that version was pruned.
    """
    master = await store.load_master(run.master) if run.master else None
    of_run, position = replace(wanted, run=run.id), -1
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    while letters := await store.letters.after(of_run, position, BATCH):
        validated = revalidate(spec, run, master, letters)
        counts += await store.letters.apply_replay(run.id, validated, by)
        refused = [each for each in validated if each.fate is ReplayOutcome.REJECTED]
        counts += Counter(validated=len(validated), rejected=len(refused))
        reasons.update("; ".join(map(str, each.reasons)) for each in refused)
        position = letters[-1].position
    return _report(run, counts, reasons.most_common(NAMED_REASONS))


def _report(run: SyncRun, counts: Counter[str], reasons: Sequence[tuple[str, int]]) -> RunReplay:
    return RunReplay(
        run=run.id, warehouse=run.warehouse, window=str(run.window), **counts, reasons=dict(reasons)
    )
