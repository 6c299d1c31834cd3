"""The log that operators read."""

import logging

from prefect.exceptions import MissingContextError
from prefect.logging.loggers import LoggingAdapter, get_logger, get_run_logger


def run_logger(name: str) -> logging.Logger | LoggingAdapter:
    """That of the run, which the UI shows; outside of one, Prefect's of this name."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger(name)
