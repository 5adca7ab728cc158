"""One Lua runtime: starts it, loads the host files, and is the only place that calls into Lua.

Memory discipline (lupa): at the memory limit, anything that Python pushes into the runtime outside a protected call
aborts the process. So the limit is off while Python converts, and on while Lua runs; the calls themselves push only
integers, booleans and tables that exist already, and only scalars come back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import cache, partial
from importlib.resources import files
from time import thread_time
from typing import Any, NoReturn, cast

from tasuki.errors import HandlerError, LuaLimitError
from tasuki.handlers.lua.host.outbound import SCALARS, Conversion, Guest, LargeValueError, Outbound
from tasuki.handlers.lua.nil_keys import ignore_nil_keys
from tasuki.handlers.lua.script import LuaLibrary, LuaLimits, LuaScript
from tasuki.handlers.lua.types import strip

PATIENCE = 0.01
"""Seconds of the process that a step computes before it is timed by its thread, and of its thread from then on."""


_UNBOXED = frozenset({int, float, bool, type(None)})

_TABLES = frozenset({dict, list, tuple})

_PART = 16
"""Bytes that a part of a value needs in Lua at least; a table needs four times as many."""

_HOST_FILES = (
    "host_calls",
    "values",
    "guards",
    "text/texts",
    "text/matcher",
    "text/patterns",
    "text/strings",
    "sandbox",
    "globals/errors",
    "outcome",
    "scheduler",
    "globals/globals",
    "globals/coroutine",
    "globals/channels",
    "globals/channel",
    "globals/payload",
)


_LOAD = "function(name, text, ...) return assert(load(text, '=' .. name, 't'))(...) end"

_CLEAR = "local all, next = _G, next; for name in next, all do all[name] = nil end"


def _refuse(*_: object) -> NoReturn:
    """The attribute filter of lupa, as a last net: a script never holds a Python object in the first place."""
    raise AttributeError("not available in Lua")


class Runtime:
    """A Lua state with one loaded script. Every method must be called from one thread."""

    def __init__(
        self,
        limits: LuaLimits,
        own_clock: Callable[[], float] | None = None,
        tired: Callable[[], None] | None = None,
    ) -> None:
        """A state with the host files.

        Args:
            limits: of the script.
            own_clock: processor time of the runtime's thread, where several of them compute at a time.
            tired: called once, when a step has kept the event loop for twice PATIENCE: the message ends with the limit
                "patience" if it has asked for nothing yet.
        """
        import lupa.lua54 as lupa

        self.lua_error: type[Exception] = lupa.LuaError
        self.limits = limits
        self._own_clock = own_clock
        self._tired = tired
        self._lua = lupa.LuaRuntime(
            encoding="utf-8",
            max_memory=limits.memory,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_refuse,
        )
        self._limit = self._lua.set_max_memory
        self._most = limits.memory
        """Bytes that a script may use just now: the limit, and values that are being converted for another message."""
        self._limit(0)
        self._table_from = self._lua.table_from
        self._to_table = partial(
            self._lua.table_from, recursive=True
        )  # no method of this: a cycle would keep the state
        self._load_host()

    def _load_host(self) -> None:
        load = self._lua.eval(_LOAD)
        budget = self.limits.instructions
        most = float("inf") if budget is None else budget
        crowded = min(self.limits.memory // 4, 2**23)
        patience = (PATIENCE, thread_time, self._tired) if self._tired else ()
        self._host = host = load("host", _text("preamble"), self.limits.time, most, crowded, self._own_clock, *patience)
        host["most_bytes"] = self.limits.memory // 2
        guards = self._lua.table()
        for name in _HOST_FILES:
            load("host", _text(name), host, guards)
        self._load = load
        self._guards = guards
        self._guest = Guest(host["new_object"], host["new_list"], host["new_error"], host["extend"], self._to_table)
        self._outbound = Outbound(self._guest)
        self._run, self._call, self._resume = host["run"], host["call"], host["resume"]
        self.spend: Callable[[int, float], None] = host["spend"]
        self.spent: Callable[[int], float] = host["spent"]
        self.drop: Callable[[int], None] = host["drop"]
        """Forgets an invocation that waits; nothing in the script runs on."""

    def boot(self, script: LuaScript, modules: Mapping[str, Sequence[str]], known: Iterable[str]) -> Any:
        """Run the top level of a script and of its imports.

        Args:
            script: the script.
            modules: Lua texts of each module in use, by the script or its libraries.
            known: names of all modules there are, for a helpful error.
        """
        self._load("host", _text("boot"), self._host, self._guards)
        for name, (*parts, text) in modules.items():
            for part in parts:
                self._load("host", part, self._host)
            self._host["add_module"](name, self._load("host", text, self._host))
        told = self._told(script) | {"known": dict.fromkeys(known, True)}
        if script.method is not None:
            told["method"] = script.method
        table = self._to_table(told)
        self._clear_globals()
        return self._enter(self._host["boot"], table)

    def _told(self, code: LuaScript | LuaLibrary) -> dict[str, Any]:
        """A script or library as the guest takes it."""
        return {
            "id": code.id,
            "source": ignore_nil_keys(strip(code.source.text)),
            "chunk": code.source.chunk_name,
            "modules": list(code.modules),
            "imports": {alias: self._told(library) for alias, library in code.imports.items()},
        }

    def _clear_globals(self) -> None:
        """The real globals (python, io, debug…) are gone before any script is loaded; the host files kept theirs."""
        self._lua.execute(_CLEAR)

    def _enter(self, function: Callable[..., Any], *args: Any) -> Any:
        self._limit(self._most)
        try:
            return function(*args)
        finally:
            self._limit(0)

    def run(self, body: Any) -> Any:
        """Start the handler on one message; see preamble.lua for what comes back. A large body: see ``run_table``."""
        kind = type(body)
        if kind is not dict:
            if kind in _UNBOXED and kind is not int:
                return self._enter(self._run, body)
            if kind in SCALARS:
                return self._enter(self._run, self._converted([body]), True)
            return self.run_table(*self._box([body]))
        table = self._table(body)
        if self._outbound.since is not None:
            return self._enter(self._run, table, False, self._seconds())
        limit = self._limit
        limit(self._most)
        try:
            return self._run(table)
        finally:
            limit(0)

    def run_table(self, box: Any, used: float) -> Any:
        """The same with a list of the body as a table, whose conversion has taken this number of seconds."""
        return self._enter(self._run, box, True, used)

    def call(self, args: Sequence[Any], used: float = 0.0) -> Any:
        """Start the handler with any arguments; its result is converted. Large ones: see ``call_table``.

        ``used``: seconds of its time that are gone.
        """
        box, took = self._box(list(args))
        return self.call_table(box, len(args), used + took)

    def call_table(self, box: Any, count: int, used: float) -> Any:
        """The same with a list of this number of arguments as a table."""
        return self._enter(self._call, box, count, used)

    def resume(self, id: int, value: Any, ticket: int | None = None, *, in_steps: bool = False) -> Any:
        """Go on with an invocation that waits, giving it the answer of its request (with tickets: of that one).

        ``in_steps``: raise LargeValueError for a large answer, so that it can be converted for ``resume_table``.
        """
        is_boxed = type(value) not in _TABLES
        try:
            if type(value) in _UNBOXED:
                return self._enter(self._resume, id, True, value, False, ticket)
            given = [value] if is_boxed else value
            table = self._table(given) if in_steps else self._table_at_once(given)
        except OverflowError:  # raised while pushing: Lua has not been entered
            problem = {"message": "a number is beyond 64 bits", "kind": "Invalid", "retryable": False}
            return self.fail(id, problem, ticket)
        except HandlerError as error:
            return self.fail(id, {"message": error.message, "kind": error.kind, "retryable": False}, ticket)
        return self._enter(self._resume, id, True, table, is_boxed, ticket)

    def resume_table(self, id: int, box: Any) -> Any:
        """The same with a list of the answer as a table."""
        return self._enter(self._resume, id, True, box, True, None)

    def fail(self, id: int, error: Mapping[str, Any], ticket: int | None = None) -> Any:
        """Go on with an invocation that waits; its request failed. ``error``: message, kind, retryable, details."""
        return self._enter(self._resume, id, False, self._table_at_once(dict(error)), False, ticket)

    def _table(self, value: Any, depth: int = 0) -> Any:
        return self._converted(self._outbound.prepare(value, depth))

    def _converted(self, prepared: Any) -> Any:
        try:
            return self._table_from(prepared, recursive=True) if type(prepared) in _TABLES else prepared
        except (OverflowError, UnicodeEncodeError) as error:
            raise _unfit(error) from None

    def _box(self, values: list[Any]) -> tuple[Any, float]:
        table = self._table(values, -1)
        return table, 0.0 if self._outbound.since is None else self._seconds()

    def _seconds(self) -> float:
        """Processor time of the conversion until now."""
        assert self._outbound.since is not None  # a small one takes no time
        return self._checked(thread_time() - self._outbound.since)

    def _checked(self, seconds: float, parts: int = 0) -> float:
        """The seconds of a conversion, which counts for the limits of its script."""
        if parts * _PART > self.limits.memory:
            raise LuaLimitError(self.limits.describe("memory"), limit="memory")
        if seconds > self.limits.time:
            raise LuaLimitError(self.limits.describe("time"), limit="time")
        return seconds

    def _table_at_once(self, value: Any) -> Any:
        try:
            return self._table(value)
        except LargeValueError:
            return _end_of(self.in_steps(value, 0))[0]

    def in_steps(self, value: Any, depth: int = -1) -> Generator[None, None, tuple[Any, float]]:
        """The table of a large value, and the seconds that it took: yields wherever others may run.

        Raises:
            HandlerError: it cannot be passed to Lua.
            LuaLimitError: it needs more memory or time than the script may use.
        """
        conversion, used, held = Conversion(self._guest), 0.0, 0
        steps = conversion.steps(value, depth)
        try:
            while True:
                since, before = thread_time(), self._in_use()
                try:
                    next(steps)
                except StopIteration as end:
                    return end.value, self._checked(used + thread_time() - since)
                except (OverflowError, UnicodeEncodeError) as error:
                    raise _unfit(error) from None
                used = self._checked(used + thread_time() - since, conversion.parts)
                more = max(self._in_use() - before, 0)  # a collection of what others left makes it no smaller
                held, self._most = held + more, self._most + more
                yield
        finally:
            self._most -= held

    def _in_use(self) -> int:
        return cast("int", self._lua.get_memory_used(total=True))

    def is_worn(self) -> bool:
        """Whether the script keeps more than three quarters of its memory after a collection."""
        self._lua.gccollect()
        return self._in_use() > self.limits.memory * 0.75


def _unfit(error: Exception) -> HandlerError:
    problem = "a number is beyond 64 bits" if isinstance(error, OverflowError) else "a text is not valid Unicode"
    return HandlerError(problem, kind="Invalid", retryable=False)


def _end_of(steps: Generator[None, None, tuple[Any, float]]) -> tuple[Any, float]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("tuple[Any, float]", end.value)


@cache
def _text(name: str) -> str:
    return files("tasuki.handlers.lua.guest").joinpath(f"{name}.lua").read_text("utf-8")


_PLACE = re.compile(r"source:(\d+): ")


def syntax_problem(text: str) -> tuple[int, str] | None:
    """The line (from 1; 0: unknown) and what Lua says is wrong there; None: all is well. Types are allowed."""
    import lupa.lua54 as lupa

    # Bytes: an error message may end in the middle of a character.
    lua = lupa.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    load = lua.execute(b"local load = load; return function(text) return select(2, load(text, '=source', 't')) end")
    told: bytes | None = load(strip(text).encode("utf-8", "replace"))
    if told is None:
        return None
    problem = told.decode("utf-8", "replace")
    place = _PLACE.match(problem)
    return (int(place[1]), problem[place.end() :]) if place else (0, problem)
