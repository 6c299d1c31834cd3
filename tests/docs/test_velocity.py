"""docs/velocity.md defines every figure, and quotes the rule of the settled classes correctly."""

from __future__ import annotations

import re

from sku_velocity.model.velocity import Thresholds
from sku_velocity.model.velocity_fields import HORIZONS, NAMES
from sku_velocity.velocity.demand import ADI_BORDER, CV2_BORDER
from tests.support.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "velocity.md").read_text()


def test_each_figure_is_defined_in_a_table() -> None:
    heads = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    defined = {name for head in heads for name in re.findall(r"`(\w+)`", head)} | set(
        re.findall(r"`(completeness_\d+)`", PAGE)
    )
    spread = {name.replace("_N", f"_{days}") for name in defined for days in HORIZONS}
    assert set(NAMES) <= spread


def test_the_borders_are_those_of_the_program() -> None:
    rule = Thresholds()
    assert f"ADI < {ADI_BORDER}, CV² < {CV2_BORDER}" in PAGE
    assert (rule.margin, rule.xyz_margin, rule.days, rule.new_days) == (0.03, 0.3, 3, 28)
