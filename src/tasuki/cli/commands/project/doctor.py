"""``tasuki doctor``: examine the installation, the project, its drivers and SQLite's files."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tasuki import __version__
from tasuki.cli import loop
from tasuki.cli.exits import CONFIG, ERROR, OK, UNREACHABLE, exit_code_of
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import print_json, print_wrapped
from tasuki.cli.project import Target
from tasuki.errors import DriverError, TasukiError
from tasuki.observe.redact import redact
from tasuki.units import format_duration, format_size

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.lifecycle.driver_service import DriverService
    from tasuki.contracts.driver import Driver
    from tasuki.kinds.check.project import Project


_MAGIC = b"SQLite format 3\x00"  # sqlite.org/fileformat2.html#magic_header_string

_BESIDE = ("-wal", "-shm", ".holders", ".ballast")
"""Files and the folder of the driver beside the database; a worker writes all of them."""

_ANOTHER = "give the driver another path, or move that away"


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked fact; ``code``: the exit code that a failure leads to."""

    what: str
    detail: str
    status: Literal["ok", "warning", "failed"] = "ok"
    hint: str = ""
    code: int = 0


def file(id: str, path: Path) -> Finding:
    """Where the queues are, who may write there, and whether this user may. Call it before the driver is opened.

    Closing the file drops the locks that SQLite holds on it in this process.
    """
    try:
        about = path.stat()
    except FileNotFoundError:
        folder = next(place for place in path.parents if place.exists())
        return _writable(id, f"file {path}: the first worker or publish makes it", [folder])
    except NotADirectoryError:
        part = next(place for place in path.parents if place.exists())
        return _failed(id, f"file {path}: {part} is a file, not a folder", _ANOTHER)
    except OSError as error:
        return _failed(id, str(error), "run it as a user that may read the folder")
    if not stat.S_ISREG(about.st_mode):
        kind = "a folder" if stat.S_ISDIR(about.st_mode) else "no regular file"
        return _failed(id, f"file {path}: it is {kind}", "write the path of a file, such as .tasuki/queue.db")
    mode = stat.filemode(about.st_mode)
    text = f"file {path}: {format_size(about.st_size)}, {mode}, owner {_user(about.st_uid)}"
    beside = (path.with_name(path.name + end) for end in _BESIDE)
    found = _writable(id, text, [path, path.parent, *filter(Path.exists, beside)])
    if found.status == "ok" and about.st_size and _head(path) != _MAGIC:
        return _failed(id, f"{text}; it is no SQLite database", _ANOTHER)
    return found


def _writable(id: str, text: str, places: list[Path]) -> Finding:
    for place in places:
        if not os.access(place, os.W_OK | os.X_OK if place.is_dir() else os.R_OK | os.W_OK):
            user = _user(os.getuid())
            return _failed(
                id, f"{text}; user {user} may not write {place}", f"run it as its owner, or let {user} write there"
            )
    return Finding(id, text)


def _failed(id: str, problem: str, hint: str) -> Finding:
    return Finding(id, problem, "failed", hint, ERROR)


def _head(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(len(_MAGIC))


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


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
    files = {id: file(id, Path(path)) for id, path in paths.items() if path}
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


_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("failed", "red")}


@click.command("doctor")
@json_option
@project_options(log_level="error")
def doctor_command(target: Target, *, as_json: bool) -> int:
    """Examine the installation, the project and its brokers; nothing is made or changed.

    Versions and extras; whether each broker answers, how durable it is and how far its clock is off; where the files
    of SQLite are and who may write them. Exit codes: 3 the project has mistakes, 4 a broker cannot be reached, 1
    another check failed, 0 there are warnings at most.
    """
    found = list(installation())
    try:
        app = target.load()
        project = app.check()
    except TasukiError as error:
        found.append(failure("project", error))
    else:
        found.append(Finding("project", _name(target)))
        found += warnings(project)
        found += loop.run(drivers(app, project))
    if as_json:
        print_json([{name: value for name, value in asdict(each).items() if name != "code"} for each in found])
    else:
        for each in found:
            _show(each)
    codes = {each.code for each in found}
    return next((code for code in (CONFIG, UNREACHABLE) if code in codes), max(codes, default=OK))


def _name(target: Target) -> str:
    found = target.found
    by = f", named by {found.source}" if found.source else ""
    return f"{found.target} in {found.folder.resolve()}{by}"


def _show(found: Finding) -> None:
    word, colour = _MARKS[found.status]
    hint = f"; {found.hint}" if found.hint else ""
    print_wrapped(click.style(word, fg=colour), f"{found.what}: {found.detail}{hint}", indent=9)
