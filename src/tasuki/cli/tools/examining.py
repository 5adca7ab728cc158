"""What ``tasuki doctor`` finds: the installation, the project, its drivers."""

from __future__ import annotations

import platform
import re
import sqlite3
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki import __version__
from tasuki.cli.exits import UNREACHABLE, exit_code_of
from tasuki.cli.tools import database_file
from tasuki.cli.tools.database_file import Finding
from tasuki.errors import DriverError, TasukiError
from tasuki.observe.redact import redact
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.lifecycle.driver_service import DriverService
    from tasuki.contracts.driver import Driver
    from tasuki.kinds.check.project import Project

MOST_SKEW = 1.0
"""Seconds between the clocks of broker and machine that need no warning."""

_EXTRA = re.compile(r"([A-Za-z0-9_.-]+).*extra == ['\"]([a-z]+)['\"]")


def failure(what: str, error: BaseException, *, code: int | None = None, hint: str = "") -> Finding:
    """A check that failed with this error."""
    return Finding(what, redact(str(error)), "failed", hint, exit_code_of(error) if code is None else code)


def installation() -> Iterator[Finding]:
    """Versions, and the extras that are installed."""
    yield Finding("tasuki", f"{__version__} in {Path(__file__).parents[2]}")
    yield Finding("python", f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}")
    yield Finding("sqlite", sqlite3.sqlite_version)
    found = {extra: _version(package) for extra, package in sorted(extras().items())}
    there = [f"{extra} ({extras()[extra]} {version})" for extra, version in found.items() if version]
    missing = [extra for extra, version in found.items() if not version]
    hint = f"the others, if the project needs them: pip install 'tasuki[{','.join(missing)}]'" if missing else ""
    yield Finding("extras", f"installed: {', '.join(there) or 'none'}", hint=hint)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def extras() -> dict[str, str]:
    """Extra → the package of others behind it; empty where Tasuki runs from a folder that was never installed."""
    try:
        required = metadata.requires("tasuki") or []
    except metadata.PackageNotFoundError:
        return {}
    found = ((match[2], match[1]) for text in required if (match := _EXTRA.match(text)))
    return {extra: package for extra, package in found if not package.startswith("tasuki")}


def warnings(project: Project) -> Iterator[Finding]:
    """What ``check`` warns of; a missing client of a driver that has queues is its own failure."""
    from tasuki.kinds.check.warnings import warnings_of

    for warning in warnings_of(project):
        yield Finding(warning.entry or "project", warning.problem, "warning", warning.hint)


async def drivers(app: App, project: Project) -> list[Finding]:
    """Whether each broker answers, how durable it is, how far its clock is from ours, and who may write its file."""
    from tasuki.app.assembly import Assembly
    from tasuki.cli.worker.running import file_of
    from tasuki.kinds.entries.queue import QueueConfig

    paths = {queue.driver: file_of(project, queue.driver) for queue in project.of(QueueConfig).values()}
    files = {id: database_file.file(id, Path(path)) for id, path in paths.items() if path}
    found = list(files.values())
    try:
        assembly = Assembly(project, clock=app._runtime.clock, keeper=app._runtime.keeper)
    except TasukiError as error:
        return [*found, failure("drivers", error)]
    assembly.take_charge()
    for id in paths:
        if id not in files:
            found += await answers(project.kinds[id].name, assembly.services[id], has_clock=True)
        elif files[id].status == "ok":  # else opening it would say the same less clearly, and leave files beside it
            found += await answers(project.kinds[id].name, assembly.services[id], has_clock=False)
    return found


async def answers(kind: str, service: DriverService, *, has_clock: bool) -> list[Finding]:
    """Whether one driver can be opened; if so, how durable it is, and how far its clock is from ours."""
    id, service.reads_only = service.driver.name, True
    try:
        await service.start()
        found = [Finding(id, f"{kind} answers"), durability(id, service)]
        return [*found, await skew(id, service.driver)] if has_clock else found
    except TasukiError as error:
        code = exit_code_of(error)
        hint = f"start the broker, or change the address of {id!r}" if code == UNREACHABLE else ""
        return [failure(id, error, hint=hint)]
    finally:
        await service.stop(0.0)


def durability(id: str, service: DriverService) -> Finding:
    """What a confirmed message survives; a warning if the broker's settings give less than they could."""
    if (better := service.better_durability()) is None:
        return Finding(id, f"durability {service.driver.durability}")
    return Finding(id, f"durability {service.driver.durability}; it could give {better}", "warning", service.remedy)


async def skew(id: str, driver: Driver) -> Finding:
    """How far the clock of an open driver's broker is from ours."""
    began = time.time()
    try:
        there = await driver.time()
    except DriverError as error:
        return failure(id, error)
    return (
        Finding(id, "clock: the broker shows none") if there is None else clock(id, there - (began + time.time()) / 2)
    )


def clock(id: str, skew: float) -> Finding:
    """How far the broker's clock is ahead of ours, in seconds."""
    if abs(skew) <= MOST_SKEW:
        return Finding(id, f"clock: within {format_duration(MOST_SKEW)} of this machine")
    way = "ahead of" if skew > 0 else "behind"
    problem = f"clock: {format_duration(round(abs(skew), 1))} {way} this machine"
    return Finding(id, problem, "warning", "synchronize the clocks (NTP): delays and ages are wrong by as much")
