"""Verification of a server's certificate, and advice if it fails."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import cache

import httpx

from sku_velocity.errors import ConfigurationError
from sku_velocity.http.spec import TlsSpec

# OpenSSL's codes (X509_V_ERR_..., x509_vfy.h), and what to do about each.
_EXPIRED, _NOT_YET, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64
_ADVICE = {
    _EXPIRED: "its owner must renew it; if it is new, the clock of this machine is wrong",
    _NOT_YET: "the clock of this machine is wrong, or the certificate was installed too early",
    _OTHER_HOST: "use a host name in base_url that is in the certificate",
    _OTHER_ADDRESS: "use a host name in base_url that is in the certificate",
}
_UNKNOWN = (
    "it is not signed by a known authority: set tls.ca_file to its authority's certificate (PEM), once its "
    "owner has confirmed it"
)


def verification(name: str, tls: TlsSpec) -> ssl.SSLContext | bool:
    """Return what httpx verifies certificates with: `tls.ca_file`, the known authorities, or nothing.

    Raises ConfigurationError if `tls.ca_file` cannot be read as certificates.
    """
    if tls.ca_file is None:
        return _known_authorities() if tls.verify else False
    try:
        return ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:  # an SSLError is one
        reason = "it contains no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"{name}: tls.ca_file {tls.ca_file}: {reason}") from error


@cache  # otherwise each client reads them again, which takes longer than a page
def _known_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def explain_certificate_error(error: BaseException) -> str | None:
    """Return why a certificate was refused and what to do, or None if the error has another cause."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            advice = _ADVICE.get(cause.verify_code, _UNKNOWN)
            return f"certificate: {cause.verify_message or cause.reason}: {advice}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
