"""The Prefect flows, and their command line, `python -m flows`."""
