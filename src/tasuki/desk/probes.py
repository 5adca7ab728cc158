"""The routes for machines: ``/metrics``, ``/livez`` and ``/readyz``.

A route is listed here once there is something true to answer: a probe that always says 200 hides a stuck worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

Probe = Callable[[Request], Awaitable[Response]]

PROBES: Mapping[str, Probe] = {}
"""First segment of the path → its answer. A probe needs no token and no Host: it must show no message and no name."""
