"""The master that a run maps its SKUs by: names, canonical ids, and what becomes of unknown ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sku_velocity.model.movement import NOT_IN_SKU_ALPHABET, SKU_ALPHABET, Movement, Name
from sku_velocity.model.run import MasterVersion, UnknownSku


class NamedMovement(Movement):
    """A movement before its SKU is looked up in a master: it may bear any name, as an alias may be any."""

    sku_id: Name


@dataclass(frozen=True)
class Names:
    """All names of one version of a master, each with the canonical id of its item; no name in both."""

    active: dict[str, str]
    retired: dict[str, str]


@dataclass(frozen=True)
class MasterChanges:
    """What the names of a version mean that those of the one before did not.

    `moved` holds each name that now means another item, as (name, item before, item now), `gone` each that
    means none any more, `retired` each canonical id that was active, `added` counts the names that are new.
    """

    moved: Sequence[tuple[str, str, str]] = ()
    gone: Sequence[tuple[str, str]] = ()
    retired: Sequence[str] = ()
    added: int = 0

    @property
    def is_drift(self) -> bool:
        """Whether a movement that was mapped before would now be mapped otherwise, or not at all."""
        return bool(self.moved or self.gone or self.retired)


def compare(before: Names, now: Names) -> MasterChanges:
    """How one version of a master differs from the one before it."""
    then, today = {**before.retired, **before.active}, {**now.retired, **now.active}
    shared = sorted(then.keys() & today.keys())
    return MasterChanges(
        moved=[(name, then[name], today[name]) for name in shared if then[name] != today[name]],
        gone=[(name, then[name]) for name in sorted(then.keys() - today.keys())],
        retired=sorted(set(before.active.values()) & set(now.retired.values())),
        added=len(today.keys() - then.keys()),
    )


@dataclass(frozen=True)
class Master:
    """One version of a master, and what is done with the SKUs that it does not know or has retired."""

    of: MasterVersion
    names: Names

    @cached_property
    def _welcome(self) -> dict[str, str]:
        names = self.names
        return {**names.retired, **names.active} if self.of.unknown_sku is UnknownSku.PASS else names.active

    def canonical(self, told: Sequence[str]) -> list[str]:
        """The canonical id of each name that may pass; any other stays as it is."""
        return list(map(self._welcome.get, told, told))

    def questionable(self, told: Iterable[str]) -> set[str]:
        """Those of these names that need a look: unknown or, where they may not pass, retired."""
        return set(told).difference(self._welcome)

    def knows(self, name: str) -> bool:
        return name in self.names.active or name in self.names.retired

    def refusal(self, name: str) -> str | None:
        """Why a movement with this name may not pass; None where it may."""
        if name in self._welcome:
            return None
        if self.of.unknown_sku is UnknownSku.PASS:
            return None if re.fullmatch(SKU_ALPHABET, name) else NOT_IN_SKU_ALPHABET
        return f"is {'retired in' if self.knows(name) else 'not known to'} the master {self.of.source}"
