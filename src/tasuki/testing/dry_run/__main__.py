"""``python -m tasuki.testing.dry_run FD``: reads an order from stdin, writes events to the descriptor, and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.testing.dry_run.recorder import Logs, Recorder, to_descriptor

_GRACE = 30.0
"""Seconds after the longest time at which the process ends by itself, should its parent be gone."""


def main() -> None:
    """Carry out the order. Never returns: what the user's code left running ends with the process."""
    order: dict[str, Any] = msgspec.msgpack.decode(sys.stdin.buffer.read())
    recorder = Recorder(to_descriptor(int(sys.argv[1])))
    last = threading.Timer(order["limit"] + _GRACE, os._exit, [1])
    last.daemon = True
    last.start()
    try:
        _run(order, recorder)
    except BaseException as error:
        if not isinstance(error, Exception | SystemExit):
            raise
        recorder.tell("problem", text=f"{type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _run(order: dict[str, Any], recorder: Recorder) -> None:
    root = logging.getLogger()
    root.addHandler(Logs(recorder))
    root.setLevel(logging.INFO)
    sys.path[:] = [*sys.path, *(path for path in order["path"] if path not in sys.path)]
    from tasuki.app import App
    from tasuki.testing.dry_run.session import run

    target = order["target"]
    name = target if ":" in target and not Path(target).exists() else Path(target)
    app = App.load(name, overrides=order["overrides"], environ=order["environ"])
    message = Outgoing(order["id"], order["body"], order["headers"], priority=order["priority"], key=order["key"])
    asyncio.run(run(app, order["consumer"], message, order["now"], order["limit"], recorder))


if __name__ == "__main__":
    main()
