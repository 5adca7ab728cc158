"""ServiceSpec: the description of a service that a supervisor gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasuki.contracts.service import Service
from tasuki.supervisor.restart import RestartPolicy


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service with its place in the order and its limits; times in seconds."""

    id: str
    service: Service
    depends_on: Sequence[str] = ()
    auto_start: bool = False
    start_timeout: float = 10.0
    stop_timeout: float = 10.0
    stable_threshold: float = 5.0
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    startup: Literal["required", "optional"] = "required"

    @property
    def is_required(self) -> bool:
        """Whether the start of all services fails without this one."""
        return self.startup == "required"
