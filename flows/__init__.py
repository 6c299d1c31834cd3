"""When, in what order, shown how: the flows, and the one door to them, `python -m flows`."""
