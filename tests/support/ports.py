"""Ports for servers that a test starts, and starts again on the same port."""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 10_000, 30_000
"""Below the ports that Linux gives to clients (from 32,768): a client would take a port while its server is down."""
_random = random.SystemRandom()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    while True:
        port = _random.randrange(LOWEST, HIGHEST)
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
