"""Faults by force: kills, stops, full disks and dead lines, and whether a row was lost or doubled by them."""
