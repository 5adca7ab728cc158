"""Keeps services running: dependency order, restart with growing backoff, bounded start and stop."""

from tasuki.supervisor.restart import RestartPolicy
from tasuki.supervisor.spec import ServiceSpec
from tasuki.supervisor.state import State, Status
from tasuki.supervisor.supervisor import Supervisor

__all__ = ["RestartPolicy", "ServiceSpec", "State", "Status", "Supervisor"]
