"""The tasks of the flows."""
