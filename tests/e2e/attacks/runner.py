"""Runs attempts, each in a fresh process: ``python -m tests.e2e.attacks.runner`` reads names, writes JSON lines.

Before a name stands where its script runs: ``shared:`` on the event loop of that process, ``pool:`` in threads of it,
``process:`` in a child of it.

The process is forked from one that has run an honest script and nothing else, so that an attempt costs a few
milliseconds. It says what happened to the attempt and whether honest scripts still work in that same process.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from typing import Any

from tasuki.errors import LuaLimitError, TasukiError
from tasuki.handlers.lua import LuaHandler, LuaLimits, LuaSource
from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler
from tasuki.handlers.lua.remote.shared import SharedLuaHandler, ThreadedLuaHandler
from tasuki.handlers.lua.script import LuaScript
from tests.e2e.attacks.attack import GOOD, MEMORY, Attack
from tests.e2e.attacks.bombs import BOMBS
from tests.e2e.attacks.escapes import ESCAPES
from tests.e2e.attacks.heavy import HEAVY
from tests.unit.handlers.lua.support import ALL, delivery, handler

DEADLINE = 60.0
"""Seconds after which a process hangs: three times what a limit allows."""
_PLAIN = (str, int, float, bool, bytes, type(None))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    return all(map(_is_plain, value)) if isinstance(value, list) else type(value) in _PLAIN


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _handler(attack: Attack, isolation: str) -> LuaHandler | IsolatedLuaHandler | ThreadedLuaHandler:
    limits = LuaLimits(memory=MEMORY, time=attack.seconds)
    source = LuaSource(attack.script(), "script.lua")
    script = LuaScript("app:script", source, modules=ALL, limits=limits)
    if isolation == "shared":
        return SharedLuaHandler(script)
    return ThreadedLuaHandler(script, threads=2) if isolation == "pool" else IsolatedLuaHandler(script, processes=1)


class _Neighbour:
    """Another consumer of the process: its heart beats, and it knows how long it had to wait for that."""

    def __init__(self) -> None:
        self.late = 0.0
        """Longest time between two beats, in seconds that this process computed."""
        self._last = time.process_time()

    async def live(self) -> None:
        while True:
            self.beat()
            await asyncio.sleep(0.005)

    def beat(self) -> None:
        now = time.process_time()
        self.late, self._last = max(self.late, now - self._last), now


async def _attempt(attack: Attack, isolation: str) -> dict[str, Any]:
    body = attack.body()
    before, variables, names = _peak(), dict(os.environ), set(vars(builtins))
    made = _handler(attack, isolation)
    context = delivery()
    context.functions["app:script"] = lambda *args: made.call(args, context)
    neighbour, started = _Neighbour(), time.process_time()
    life = asyncio.create_task(neighbour.live())
    told: dict[str, Any] = {"outcome": "done", "error": "", "limit": ""}
    try:
        result = await made.call([body], context)
        told["escaped"] = result == "escaped" or not _is_plain(result)
    except TasukiError as error:
        limit = error.limit if isinstance(error, LuaLimitError) else ""
        told = {"outcome": "error", "error": str(error), "limit": limit, "escaped": "escaped:" in str(error)}
    neighbour.beat()
    life.cancel()
    told["seconds"], told["late"] = round(time.process_time() - started, 3), round(neighbour.late, 3)
    told["grown"] = _peak() - before
    told["escaped"] |= not all(_is_plain(sent.body) for sent in context.published)
    told["escaped"] |= dict(os.environ) != variables or set(vars(builtins)) != names or bool(os.listdir())
    if not attack.whole:
        told["same"] = await made.call([GOOD], delivery())
    await made.stop()
    told["other"] = await _honest()
    return told


async def _honest() -> Any:
    return await handler(Attack("", "", "").script()).call([GOOD], delivery())


def _child(attack: Attack, isolation: str, out: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            told = asyncio.run(_attempt(attack, isolation))
        except BaseException as error:
            told = {"outcome": "raised", "error": repr(error)[:2000]}
        os.chdir("/")
    os.write(out, json.dumps(told)[:60_000].encode())


def attempt(attack: Attack, isolation: str = "shared") -> dict[str, Any]:
    """What becomes of an attempt in its own process; outcome ``died`` or ``hung`` if that does not say."""
    out, inner = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _child(attack, isolation, inner)
        finally:
            os._exit(0)
    os.close(inner)
    ready, _, _ = select.select([out], [], [], DEADLINE)
    answer = os.read(out, 65_536) if ready else b""
    os.close(out)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if answer:
        return dict(json.loads(answer))
    return {"outcome": "died" if ready else "hung", "error": f"status {status}"}


def main() -> None:
    """Answer one name a line."""
    attacks = {attack.name: attack for attack in (*ESCAPES, *BOMBS, *HEAVY)}
    asyncio.run(_honest())  # what it imports and reads is there for every attempt
    for line in sys.stdin:
        isolation, _, name = line.strip().partition(":")
        print(json.dumps(attempt(attacks[name], isolation)), flush=True)


if __name__ == "__main__":
    main()
