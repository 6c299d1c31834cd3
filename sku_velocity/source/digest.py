"""The digest of what a spec reads and how it maps it: two mappings never meet in one window."""

from __future__ import annotations

import json
from hashlib import blake2b

from sku_velocity.source.spec import SourceSpec

# What decides only from where, how fast and in what portions records come, or what is done with the result.
NOT_MAPPING = frozenset(
    {
        *("name", "base_url", "auth", "tls", "pace", "throttle", "timeouts"),
        *("paging", "total", "warehouses", "limits"),
    }
)
PORTIONS = frozenset({"page_size", "max_page_size", "overlap", "proof", "stable"})  # of paging


def mapping_digest(spec: SourceSpec) -> str:
    """Hash the parts of a spec that decide which records a window holds and which rows they become."""
    parts = spec.model_dump(mode="json", exclude=set(NOT_MAPPING), exclude_defaults=True)
    paging = spec.paging.model_dump(mode="json", exclude=set(PORTIONS), exclude_defaults=True)
    parts["paging"] = {**paging, "style": spec.paging.style}  # a wrong path or parameter ends a window early
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
