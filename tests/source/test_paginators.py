"""Each way of paging knows what it can prove of a window."""

from __future__ import annotations

from typing import Any

import pytest

from sku_velocity.source.paginators import paginator_of
from sku_velocity.source.spec import parse_spec

IDS = {"fields": {"movement_id": "id"}}
CURSOR = {"style": "cursor", "cursor_path": "next"}


@pytest.mark.parametrize(
    ("parts", "proof", "reason"),
    [
        (IDS, "seams", None),
        ({"order": {"params": {"sort": "id"}}}, "seams", None),
        ({}, "seams", "no record id is mapped and no order is declared"),
        ({**IDS, "paging": {"overlap": 0}}, "none", "set paging.overlap"),
        ({**IDS, "paging": {"page_size": 1}}, "none", "paging.page_size"),
        ({**IDS, "paging": {"style": "page"}}, "seam_pages", None),
        ({**IDS, "paging": {"style": "page", "limit_param": None}}, "reread", None),
        ({**IDS, "paging": {"style": "page", "proof": "reread"}}, "reread", None),
        ({**IDS, "paging": {"style": "page", "proof": "ends"}}, "none", "set it to seams or reread"),
        ({**IDS, "paging": CURSOR}, "none", "set paging.stable"),
        ({"paging": {**CURSOR, "stable": True}}, "stable", None),
        ({"paging": {"style": "next_link", "stable": True}}, "stable", None),
        ({"paging": {"style": "next_link"}}, "none", "set paging.stable"),
    ],
)
def test_a_spec_says_what_can_be_proven_or_why_not(
    parts: dict[str, Any], proof: str, reason: str | None
) -> None:
    spec = parse_spec({"name": "acme", "base_url": "https://wms.example.com", **parts}, "test")
    paginator = paginator_of(spec)
    assert paginator.proof == proof
    assert (
        (paginator.why_unproven() or "") == ""
        if reason is None
        else reason in (paginator.why_unproven() or "")
    )
