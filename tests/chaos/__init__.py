"""Injected faults: kills, stops, full disks and cut connections, and whether they lose or duplicate rows."""
