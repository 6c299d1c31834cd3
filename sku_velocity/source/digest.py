"""The digest of what a spec reads, how it maps it, and what proves it: two never meet in one window."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from sku_velocity.source.spec import SourceSpec

# All keys but these. They decide only how fast, how safely or in what portions records come, or what is done
# with a window once it is read. That a cursor is stable holds for the pages that are read already, too. A
# page size or overlap that does not suit the plan is noticed in the ledger.
LEFT_OUT: dict[str, Any] = {
    **dict.fromkeys(("name", "tls", "pace", "timeouts", "limits", "warehouses", "changes"), True),
    "paging": {"page_size", "max_page_size", "pages_per_chunk", "overlap", "stable"},
    "throttle": {"statuses", "retry_after_headers"},
}


def mapping_digest(spec: SourceSpec) -> str:
    """Hash the parts of a spec that decide which records a window holds, which rows they become, and what
    proves that none is missing.
    """
    dumped = spec.model_dump(mode="json", exclude=LEFT_OUT, exclude_defaults=True)
    parts = {name: part for name, part in dumped.items() if part or name not in LEFT_OUT}
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
