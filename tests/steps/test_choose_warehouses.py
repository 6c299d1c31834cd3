"""Which published warehouses are refreshed."""

from __future__ import annotations

import pytest

from sku_velocity.errors import ConfigurationError
from sku_velocity.steps.velocity import choose_warehouses

PUBLISHED = [("acme", "WH-01"), ("acme", "WH-02"), ("erp", "WH-01")]


def test_warehouses_and_source_filter_the_published_ones() -> None:
    assert choose_warehouses(PUBLISHED, [], None) == PUBLISHED
    assert choose_warehouses(PUBLISHED, ["WH-01"], None) == [PUBLISHED[0], PUBLISHED[2]]
    assert choose_warehouses(PUBLISHED, ["WH-01"], "erp") == [PUBLISHED[2]]
    for warehouses, source in ((["WH-02"], "erp"), ([], "nobody"), (["WH-01", "WH-3"], None)):
        with pytest.raises(ConfigurationError, match="WH-01, WH-02"):
            choose_warehouses(PUBLISHED, warehouses, source)
