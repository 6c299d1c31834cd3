"""The parts of a spec that say how requests are sent."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from sku_velocity.spec_file import Part

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]


class TlsSpec(Part):
    """How the other side's certificate is verified: by the known authorities, or by those in `ca_file` alone.

    `verify: false` trusts whoever answers, who then also gets the token; every run warns of it.
    """

    ca_file: str | None = Field(default=None, min_length=1, description="Certificates (PEM), by their path")
    verify: bool = True

    @model_validator(mode="after")
    def _verifies_by_what_it_names(self) -> Self:
        if self.ca_file and not self.verify:
            raise ValueError("tls.ca_file verifies nothing while tls.verify is false: leave one out")
        return self


class PaceSpec(Part):
    """What the API allows: requests/s, requests in flight, and how many may start at once.

    `shared_limit` names a Prefect global concurrency limit: all processes that read the source by it keep
    `requests_per_second` together. The number in flight is each process's own.
    """

    requests_per_second: float = Field(default=20, gt=0, le=10_000)
    max_concurrency: int | None = Field(
        default=None, ge=1, le=1_000, description="Empty: 12, fewer where the container's limits are low"
    )
    burst: int = Field(default=1, ge=1)
    shared_limit: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _share_no_burst(self) -> Self:
        if self.shared_limit and self.burst > 1:
            raise ValueError("burst: processes that share a limit start one request at a time: leave it at 1")
        return self


class TimeoutSpec(Part):
    """Limits of one request, in seconds, and of one page, in bytes."""

    connect: float = Field(default=10, gt=0)
    read: float = Field(default=15, gt=0)
    total: float = Field(default=30, gt=0)
    keepalive_expiry: float = Field(default=15, gt=0)
    max_page_bytes: int = Field(default=32 * 2**20, ge=1024)
