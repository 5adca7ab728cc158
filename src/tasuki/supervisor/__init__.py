"""Keeps services running: dependency order, restart with growing backoff, bounded start and stop."""

from tasuki.supervisor.spec import RestartPolicy, ServiceSpec, State, Status
from tasuki.supervisor.supervisor import Supervisor

__all__ = ["RestartPolicy", "ServiceSpec", "State", "Status", "Supervisor"]
