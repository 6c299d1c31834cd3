"""What a request costs and how its failure is explained."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from sku_velocity.text import quote


@dataclass
class Tally:
    """What reading cost: requests sent, sent again after a failure, and answered with "wait"."""

    requests: int = 0
    retried: int = 0
    throttled: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.requests + other.requests, self.retried + other.retried, self.throttled + other.throttled
        )


def discard_on_close(connection: socket.socket) -> None:
    """Let a connection forget, once it is closed, what it has not sent yet.

    Otherwise, after a network was away, the requests that were given up meanwhile would all arrive at once,
    long after they had their place in the pace.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _explain(error: Exception) -> str:
    return quote((str(error) or type(error).__name__).encode())
