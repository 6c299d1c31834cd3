"""The log that operators read, and its warning about unverified certificates."""

import logging

from prefect.exceptions import MissingContextError
from prefect.logging.loggers import LoggingAdapter, get_logger, get_run_logger
from pydantic import AnyHttpUrl

from sku_velocity.http.spec import TlsSpec

UNVERIFIED = (
    "The certificate of %s is not verified (tls.verify: false): anyone who answers in its place gets the "
    "token and can send any data. Set tls.ca_file to its certificate authority instead."
)


def run_logger(name: str) -> logging.Logger | LoggingAdapter:
    """Return the run's logger, which the UI shows; outside a run, Prefect's logger of this name."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger(name)


def warn_if_unverified(tls: TlsSpec, base_url: AnyHttpUrl) -> None:
    """Log a warning if the certificate of this address is not verified."""
    if not tls.verify:
        run_logger("tls").warning(UNVERIFIED, base_url)
