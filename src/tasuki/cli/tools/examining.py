"""What ``tasuki doctor`` finds: the installation, the project, its drivers, and the files of these."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tasuki import __version__
from tasuki.cli.exits import ERROR, UNREACHABLE, exit_code_of
from tasuki.errors import DriverError, TasukiError
from tasuki.observe.redact import redact
from tasuki.units import format_duration, format_size

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.lifecycle.driver_service import DriverService
    from tasuki.contracts.driver import Driver
    from tasuki.kinds.check.project import Project

MOST_SKEW = 1.0
"""Seconds between the clocks of broker and machine that need no warning."""

_EXTRA = re.compile(r"([A-Za-z0-9_.-]+).*extra == ['\"]([a-z]+)['\"]")


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked fact; ``code``: the exit code that a failure leads to."""

    what: str
    detail: str
    status: Literal["ok", "warning", "failed"] = "ok"
    hint: str = ""
    code: int = 0


def failure(what: str, error: BaseException, *, code: int | None = None, hint: str = "") -> Finding:
    """A check that failed with this error."""
    return Finding(what, redact(str(error)), "failed", hint, exit_code_of(error) if code is None else code)


def installation() -> Iterator[Finding]:
    """Versions, and the extras that are installed."""
    yield Finding("tasuki", f"{__version__} in {Path(__file__).parents[2]}")
    yield Finding("python", f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}")
    yield Finding("sqlite", sqlite3.sqlite_version)
    for extra, package in sorted(extras().items()):
        try:
            yield Finding(f"extra {extra}", f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            yield Finding(f"extra {extra}", f"not installed (pip install 'tasuki[{extra}]')")


def extras() -> dict[str, str]:
    """Extra → the package behind it; empty where Tasuki runs from a folder that was never installed."""
    try:
        required = metadata.requires("tasuki") or []
    except metadata.PackageNotFoundError:
        return {}
    found = {match[2]: match[1] for text in required if (match := _EXTRA.match(text))}
    return {extra: package for extra, package in found.items() if extra != "all"}


def warnings(project: Project) -> Iterator[Finding]:
    """What ``check`` warns of; a missing client of a driver that has queues is a failure of its own."""
    from tasuki.kinds.check.warnings import warnings_of

    for warning in warnings_of(project):
        yield Finding(warning.entry or "project", warning.problem, "warning", warning.hint)


async def drivers(app: App, project: Project) -> list[Finding]:
    """Whether each broker answers, how durable it is, how far its clock is from ours, and who may write its file."""
    from tasuki.cli.worker.running import file_of
    from tasuki.kinds.entries.queue import QueueConfig

    files = {queue.driver: file_of(project, queue.driver) for queue in project.of(QueueConfig).values()}
    found = [finding for id, path in files.items() if path for finding in file(id, Path(path))]
    try:
        async with app.reading():
            assert app.assembly is not None
            states = app.supervisor.states()
            for id, path in files.items():
                if (error := states[id].error) is not None:
                    hint = f"start the broker, or change the address of {id!r}"
                    found.append(failure(id, error, code=UNREACHABLE, hint=hint))
                    continue
                found.append(Finding(id, f"{project.kinds[id].name} answers"))
                found.append(durability(id, app.assembly.services[id]))
                if path is None:
                    found.append(await skew(id, app.assembly.drivers[id]))
    except TasukiError as error:
        found.append(failure("drivers", error))
    return found


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


def file(id: str, path: Path) -> Iterator[Finding]:
    """Where the queues are, who may write there, and whether this user may."""
    try:
        about = path.stat()
    except FileNotFoundError:
        folder = next(place for place in path.parents if place.exists())
        text = f"file {path}: the first worker or publish makes it"
        yield _writable(id, text, folder, os.access(folder, os.W_OK | os.X_OK))
        return
    except OSError as error:
        yield failure(id, error, code=ERROR, hint="run it as a user that may read the folder")
        return
    mode = stat.filemode(about.st_mode)
    text = f"file {path}: {format_size(about.st_size)}, {mode}, owner {_user(about.st_uid)}"
    yield _writable(id, text, path, os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK))


def _writable(id: str, text: str, place: Path, may_write: bool) -> Finding:
    if may_write:
        return Finding(id, text)
    user = _user(os.getuid())
    hint = f"run it as its owner, or let {user} write there"
    return Finding(id, f"{text}; user {user} may not write {place}", "failed", hint, ERROR)


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
