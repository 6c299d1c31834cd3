"""The log that operators read, and what it warns of."""

import logging

from prefect.exceptions import MissingContextError
from prefect.logging.loggers import LoggingAdapter, get_logger, get_run_logger
from pydantic import AnyHttpUrl

from sku_velocity.http.spec import TlsSpec

UNVERIFIED = (
    "The certificate of %s is not verified (tls.verify: false): whoever answers in its place gets the token, "
    "and may answer what they like. Name its authority as tls.ca_file instead."
)


def run_logger(name: str) -> logging.Logger | LoggingAdapter:
    """That of the run, which the UI shows; outside of one, Prefect's of this name."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger(name)


def warn_if_unverified(tls: TlsSpec, base_url: AnyHttpUrl) -> None:
    """Say aloud that whoever answers is trusted, where that is so."""
    if not tls.verify:
        run_logger("tls").warning(UNVERIFIED, base_url)
