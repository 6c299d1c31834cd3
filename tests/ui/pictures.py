"""Pictures of the pages that the tests visit, for the documentation."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.support.waiting import until
from tests.ui.browser import WIDTH

COLOURS = 256  # a third of the bytes, without a visible difference

Take = Callable[[str, int], None]


def picture_of(page: Page, height: int, path: Path) -> None:
    """Write the top `height` pixels of a page to a PNG file, once they no longer change."""
    before = page.viewport_size
    assert before
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.mouse.move(0, 0)
    shots = [b""]

    def still() -> bytes | None:
        shots.append(page.screenshot())
        return shots[-1] if shots[-1] == shots[-2] else None

    picture = Image.open(io.BytesIO(until(still))).convert("RGB")
    few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    page.set_viewport_size(before)
