"""Publications: the numbered changes of what is visible."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sku_velocity.model.window import Window


class Cause(StrEnum):
    """Why rows were published: nothing was published in the window, the source had changed, the spec had
    changed, or dead letters of a published run were replayed."""

    FIRST = "first"
    REVISION = "revision"
    SPEC = "spec"
    REPLAY = "replay"


class Difference(NamedTuple):
    """How many rows of a window differ from what was published there before; None if that is not known.

    Without record ids in every row, a changed row counts as one removed and one added.
    """

    added: int | None = None
    changed: int | None = None
    removed: int | None = None
    unchanged: int | None = None


class Publication(NamedTuple):
    """A change of what is visible: the run whose rows became visible, and the window in which they may be.

    Numbers are 1, 2, 3, ... over the whole store, and become visible to readers in this order.
    """

    publication: int
    source: str
    warehouse: str
    window: Window
    run_id: str
    published_at: datetime
    cause: Cause
    difference: Difference
