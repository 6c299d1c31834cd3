"""The parts of a spec about sending requests."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from sku_velocity.spec_file import Part

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]


class TlsSpec(Part):
    """Verification of the server's certificate: by the known authorities, or only by those in `ca_file`.

    `verify: false` trusts any server that responds, and sends it the token; every run logs a warning.
    """

    ca_file: str | None = Field(
        default=None, min_length=1, description="Path of a file with certificates (PEM)"
    )
    verify: bool = True

    @model_validator(mode="after")
    def _ca_file_needs_verify(self) -> Self:
        if self.ca_file and not self.verify:
            raise ValueError("tls.ca_file has no effect while tls.verify is false: remove one of them")
        return self


class PaceSpec(Part):
    """The limits of the API: requests/s, requests in flight, and how many may start at once.

    `shared_limit` is a name: all processes with this name that use the same store share
    `requests_per_second`. The limit of requests in flight applies to each process.
    """

    requests_per_second: float = Field(default=20, gt=0, le=10_000)
    max_concurrency: int | None = Field(
        default=None, ge=1, le=1_000, description="Omit for 12, or fewer if the container's limits are low"
    )
    burst: int = Field(default=1, ge=1)
    shared_limit: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _shared_limit_has_no_burst(self) -> Self:
        if self.shared_limit and self.burst > 1:
            raise ValueError("burst: processes that share a limit start one request at a time: set it to 1")
        return self


class TimeoutSpec(Part):
    """Limits of one request, in seconds, and of one page, in bytes."""

    connect: float = Field(default=10, gt=0)
    read: float = Field(default=15, gt=0)
    total: float = Field(default=30, gt=0)
    keepalive_expiry: float = Field(default=15, gt=0)
    max_page_bytes: int = Field(default=32 * 2**20, ge=1024)
