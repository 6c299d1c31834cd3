"""A spec of Acme's WMS that accepts some of the records that the usual one rejects."""

from __future__ import annotations

from pathlib import Path

from simulator.server import Server
from tests.support.acme import spec_file

# With these fields negative units are valid, and a time without a zone is UTC.
FIXED = {
    "movement_id": "movement_id",
    "units_moved": {"path": "units_moved", "sign": "abs"},
    "timestamp_utc": {"path": "timestamp_utc", "assume_timezone": "UTC"},
}
FIXED_DEFECTS = ("negative_units", "no_zone")


def fix_spec(server: Server, tmp_path: Path) -> tuple[str, int]:
    """Return the path of a spec that accepts more records, and how many more."""
    defects = server.ground_truth("WH-01").defects
    return spec_file(server, tmp_path, fields=FIXED), sum(defects[name] for name in FIXED_DEFECTS)
