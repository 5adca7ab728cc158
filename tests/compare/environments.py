"""The compared systems: their versions, their brokers, and an environment of each in ``build/compare``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
HOME: Final = ROOT / "build" / "compare"


class System(NamedTuple):
    """Pinned requirements, the brokers on which it is compared, and its best settings."""

    requirements: Sequence[str]
    brokers: Sequence[str]
    best: str
    default: str = "none"


SYSTEMS: Final = {
    "tasuki": System(
        [f"{ROOT}[redis,amqp,postgres,nats]"],
        ["redis", "amqp", "postgres", "nats", "sqlite"],
        "concurrency=100, prefetch=1000; quorum queues on RabbitMQ",
        "a plain @consumer()",
    ),
    "ardiq": System(["ardiq==1.2.0"], ["redis"], "concurrency=100, prefetch=1000"),
    "mayu": System(["mayu==0.2.5"], ["redis"], "--mode thread --threads 4 --prefetch-multiplier 100"),
    "repid": System(
        ["repid[redis,nats]==2.1.4", "typing_extensions==4.16.0", "hiredis==3.5.0"],
        ["redis", "nats"],
        "batch_size=100, tasks_limit=100",
        "claim_interval=1, else nothing is taken over from a killed worker",
    ),
    "taskiq": System(
        ["taskiq[reload]==0.13.0", "taskiq-redis==1.2.4", "hiredis==3.5.0"],
        ["redis"],
        "a stream; --workers 1 --max-async-tasks 100 --max-prefetch 100, xread_count=100",
        "a stream; two worker processes",
    ),
    "faststream": System(
        ["faststream[rabbit,redis,nats,cli]==0.7.8", "hiredis==3.5.0"],
        ["redis", "amqp", "nats"],
        "prefetch, max_records and max_workers of 100; no log; classic durable queues on RabbitMQ",
        "acks after the handler",
    ),
    "arq": System(["arq==0.28.0"], ["redis"], "max_jobs=100, keep_result=0, poll_delay=0.01"),
    "dramatiq": System(
        ["dramatiq[redis,rabbitmq]==2.2.1", "hiredis==3.5.0"],
        ["redis", "amqp"],
        "--processes 1 --threads 32; confirms on RabbitMQ",
        "a process for each core, eight threads each",
    ),
    "celery": System(
        ["celery[redis]==5.7.0", "hiredis==3.5.0"],
        ["redis", "amqp"],
        "--pool solo, a prefetch of 100; late acks, confirms on RabbitMQ, no results",
        "a process for each core; late acks, confirms, no results",
    ),
    "rq": System(["rq==3.0.0", "hiredis==3.5.0"], ["redis"], "SimpleWorker", "a process for each job"),
    "huey": System(
        ["huey==3.5.4", "redis==8.1.0", "hiredis==3.5.0"],
        ["redis", "sqlite"],
        "--workers 4 --delay 0.001; a task is removed before it runs; fsync on SQLite",
        "one thread",
    ),
    "pgqueuer": System(["pgqueuer[asyncpg]==1.6.0", "typer==0.21.1", "click==8.2.1"], ["postgres"], "--batch-size 100"),
}
"""Each also gets uvloop, which those without a loop ignore."""

_UVLOOP: Final = "uvloop==0.22.1"


def prepare(name: str, interpreter: str) -> Path:
    """The Python of a system's environment, which is made unless it is there with these versions and interpreter."""
    folder, wanted = HOME / name, [*SYSTEMS[name].requirements, _UVLOOP]
    python, mark = folder / "bin" / "python", folder / "installed"
    newest = max(file.stat().st_mtime for file in (ROOT / "src").rglob("*")) if name == "tasuki" else 0
    text = "\n".join([interpreter, *wanted, f"{newest}"])
    if not mark.exists() or mark.read_text() != text:
        subprocess.run([interpreter, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True, timeout=120)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python)]
        done = subprocess.run([*command, "install", *wanted], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise RuntimeError(f"pip could not install it: {done.stderr.strip().splitlines()[-1]}")
        mark.write_text(text)
    return python


def version(name: str) -> str:
    """Of the installed system."""
    found = next((HOME / name).glob(f"lib/*/site-packages/{name.replace('-', '_')}-*.dist-info"), None)
    number = re.search(r"-([0-9][^-]*)\.dist-info", found.name) if found else None
    return number[1] if number else "unknown"


def megabytes(name: str) -> float:
    """What it and all that it needs take on the disk, with bytecode, without uvloop; Tasuki without other clients."""
    total = 0
    for file in (HOME / name).glob("lib/*/site-packages/**/*"):
        if file.is_file() and "uvloop" not in file.parts[-2] and "uvloop" not in file.parts[-3]:
            total += file.stat().st_size
    return total / 1e6
