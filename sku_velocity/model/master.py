"""The master that a run maps its SKUs with: names, canonical ids, and the policy for unknown ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sku_velocity.model.movement import Movement, Name
from sku_velocity.model.run import MasterVersion, UnknownSku
from sku_velocity.model.sku import SkuRule


class NamedMovement(Movement):
    """A movement before its SKU is looked up in a master: its SKU may be any name, as an alias may."""

    sku_id: Name


@dataclass(frozen=True)
class Names:
    """All names of one version of a master, each with the canonical id of its item; no name is in both."""

    active: dict[str, str]
    retired: dict[str, str]


@dataclass(frozen=True)
class MasterChanges:
    """The changes of a version's names since the version before.

    `moved` holds each name that now means another item, as (name, item before, item now), `gone` each name
    that was removed, as (name, item before), `retired` each canonical id that was active before; `added`
    counts new names.
    """

    moved: Sequence[tuple[str, str, str]] = ()
    gone: Sequence[tuple[str, str]] = ()
    retired: Sequence[str] = ()
    added: int = 0

    @property
    def is_drift(self) -> bool:
        """Return True if a movement that was mapped before would now be mapped differently, or not at all."""
        return bool(self.moved or self.gone or self.retired)


def compare(before: Names, now: Names) -> MasterChanges:
    """Compare one version of a master with the version before it."""
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
    """One version of a master, with the policy for SKUs that it does not know or has retired."""

    of: MasterVersion
    names: Names

    @cached_property
    def _accepted(self) -> dict[str, str]:
        names = self.names
        return {**names.retired, **names.active} if self.of.unknown_sku is UnknownSku.PASS else names.active

    def canonical(self, names: Sequence[str]) -> list[str]:
        """Return the canonical id of each accepted name; other names are unchanged."""
        return list(map(self._accepted.get, names, names))

    def unmapped(self, names: Iterable[str]) -> set[str]:
        """Return the names that are unknown or, unless they may pass, retired."""
        return set(names).difference(self._accepted)

    def knows(self, name: str) -> bool:
        return name in self.names.active or name in self.names.retired

    def refusal(self, name: str, rule: SkuRule) -> str | None:
        """Return why a movement with this name is rejected, or None if it is accepted.

        `rule` is that of the source's SKUs, for a name that is not the master's.
        """
        if name in self._accepted:
            return None
        if self.of.unknown_sku is UnknownSku.PASS:
            return None if rule.accepts(name) else rule.message
        return f"is {'retired in' if self.knows(name) else 'not known to'} the master {self.of.source}"
