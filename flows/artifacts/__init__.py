"""The artifacts that operators see in the Prefect UI: one module each."""
