"""What a peer is set up to do; a load names the task that it needs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Plain HTTP in, the path's prefix exchanged for `/v1`, an 800-byte bearer token added, mutual TLS 1.3 out."""

    workers: int = 1
    # HTTP version towards the service.
    protocol: str = "1.1"
    # What apps speak: "1.1", or "2" by prior knowledge.
    incoming: str = "1.1"
    # gRPC messages in a stream, and not requests: the service is another one (`messages`).
    messages: bool = False
    # Connections to the service are "kept", or each has one request and a handshake that is "resumed" or "full".
    upstream: str = "kept"
    # Idle connections to the service that are kept at most; as many as any load needs. Sidekey finds out by itself.
    pool: int = 2048
    # App connections at a time; nginx sets aside memory for each that there could be.
    clients: int = 2048
    routes: int = 1
    services: int = 1
    # Who takes part, where the service has no descriptors for the connections of all; `()`: everybody.
    only: tuple = ()

    def prefixes(self):
        """The routes: each a prefix, all of them of one length, and the number of its service."""
        if self.routes == 1:
            return [("/payments", 0)]
        return [(f"/route{number:05}", number % self.services) for number in range(self.routes)]

    def prefix(self):
        """The one that is asked for: from the middle, so that neither the first nor the last place helps."""
        return self.prefixes()[self.routes // 2][0]


class Unsupported(Exception):
    """The peer can't be set up for this task; says why."""
