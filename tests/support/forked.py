"""Commands in processes forked from one that has loaded the package: most of a fresh command's time is imports."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.support.preloaded"])


def run_forked(
    arguments: list[str], *, folder: Path, stdin: bytes, timeout: float, environ: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end, as ``subprocess.run`` does: a process with its own folder, environment and streams.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    with TemporaryDirectory(prefix="tasuki-forked-") as made:
        streams = [Path(made, name) for name in ("stdin", "stdout", "stderr")]
        for path in streams:
            path.write_bytes(b"")
        streams[0].write_bytes(stdin)
        process = _server.Process(target=_command, args=(arguments, folder, environ, streams, _path()))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout, *(path.read_bytes() for path in streams[1:]))
        return subprocess.CompletedProcess(arguments, process.exitcode, *(path.read_bytes() for path in streams[1:]))


@cache
def _path() -> list[str]:
    """Where a fresh interpreter finds modules; tests may have added to the path of this one."""
    code = "import json, sys; print(json.dumps(sys.path[1:]))"
    return list(json.loads(subprocess.check_output([sys.executable, "-c", code])))


def _command(arguments: list[str], folder: Path, environ: dict[str, str], streams: list[Path], path: list[str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for number, stream in enumerate(streams):
        opened = os.open(stream, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.argv = ["tasuki", *arguments]
    sys.path[:] = [*path, str(folder)]  # where ``python -m tasuki`` has it
    from tasuki.cli import main

    sys.exit(main())
