"""What operators see in the Prefect UI: one module per artifact."""
