"""How the certificate of a source or an engine is verified, and what to do where it does not pass."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import cache

import httpx

from sku_velocity.errors import ConfigurationError
from sku_velocity.http.spec import TlsSpec

# OpenSSL's codes (X509_V_ERR_..., x509_vfy.h), and what whoever meets them can do.
_EXPIRED, _NOT_YET, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64
_ADVICE = {
    _EXPIRED: "its owner must renew it; if it is new, the clock of this machine is wrong",
    _NOT_YET: "the clock of this machine is wrong, or the certificate was put in place too early",
    _OTHER_HOST: "write base_url with a name that the certificate bears",
    _OTHER_ADDRESS: "write base_url with a name that the certificate bears",
}
_UNKNOWN = (
    "nobody known here has signed it: name its authority's certificate as tls.ca_file (PEM), once its owner "
    "has confirmed it"
)


def verification(name: str, tls: TlsSpec) -> ssl.SSLContext | bool:
    """What httpx verifies certificates by: an authority of one's own, the known ones, or nothing.

    Raises ConfigurationError where `tls.ca_file` cannot be read as certificates.
    """
    if tls.ca_file is None:
        return _known_authorities() if tls.verify else False
    try:
        return ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:  # an SSLError is one
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"{name}: tls.ca_file {tls.ca_file}: {reason}") from error


@cache  # they are read anew for each client otherwise, which takes longer than a page
def _known_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def refused_certificate(error: BaseException) -> str | None:
    """Why a certificate was refused and what to do; None where something else went wrong."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            advice = _ADVICE.get(cause.verify_code, _UNKNOWN)
            return f"certificate: {cause.verify_message or cause.reason}: {advice}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
