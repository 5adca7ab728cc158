"""The numbers on each face (desk, API, command line, ``top``, MCP, metrics), by queue and name.

A number is of a queue, or of all together (``ALL``); None is what a face shows as unknown.
"""

from __future__ import annotations

import html
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from mcp import Client, StdioServerParameters, stdio_client

from tests.e2e.truth.world import World
from tests.support.process import TASUKI, environ, run
from tests.unit.desk.browser import words

ALL = ""
SLOW = 240.0
"""Seconds after which a command or a page is given up; only a busy machine takes more than a few."""
Numbers = dict[tuple[str, str], float | None]
"""By queue and name: ready, in_flight, delayed, running, dead, workers, done, failed."""

_ROW = re.compile(r'<tr id="q-([^"]+)">(.*?)</tr>', re.DOTALL)
_CELL = re.compile(r'data-name="([^"]+)"[^>]*>(.*?)</t[dh]>', re.DOTALL)
_TOTAL = re.compile(r"<dt>([^<]+)</dt><dd>(.*?)</dd>", re.DOTALL)
_UNKNOWN = ("–", "-", "")
_SHOWN = ("ready", "running", "delayed", "dead", "workers")


def get(world: World, path: str) -> str:
    """A page of the desk, or an answer of its API; asked again when the desk says, if it was asked too often."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{world.port}{path}", timeout=SLOW) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as answer:
            if answer.code != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            time.sleep(float(answer.headers["retry-after"]))


def command(world: World, *arguments: str) -> str:
    """What a command prints to stdout."""
    ended = run(*arguments, *world.arguments, folder=world.folder, timeout=SLOW)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def _number(text: str) -> float | None:
    """Of a cell; ``3/7`` is three of seven places, ``~3`` an estimate."""
    plain = html.unescape(re.sub(r"<[^>]*>", "", text)).strip().partition("/")[0].replace(",", "").lstrip("~")
    return None if plain in _UNKNOWN else float(plain)


def _of_queue(row: Mapping[str, Any], *names: str) -> Numbers:
    id = row.get("id") or row["queue"]
    return {(id, name): row[name] for name in names if name in row and not (name == "dead" and id == "app:dead")}


async def queues_command(world: World) -> Numbers:
    found: Numbers = {}
    for row in json.loads(command(world, "queues", "--json")):
        found |= _of_queue(row, "ready", "in_flight", "delayed")
    return found


async def info_command(world: World) -> Numbers:
    found: Numbers = {}
    for queue in ("app:held",):
        row = json.loads(command(world, "info", queue, "--json"))
        found |= _of_queue(row, "ready", "in_flight", "delayed")
        found[queue, "workers"] = row["consumer_count"]
    return found


async def queues_table(world: World) -> Numbers:
    return _table(world, command(world, "queues"), {"READY": "ready", "IN FLIGHT": "in_flight", "DELAYED": "delayed"})


async def top(world: World) -> Numbers:
    names = {"READY": "ready", "RUN": "running", "DELAY": "delayed", "DEAD": "dead", "WORKERS": "workers"}
    return _table(world, command(world, "top", "--once"), names)


def _table(world: World, text: str, names: Mapping[str, str]) -> Numbers:
    """A table whose columns are two spaces apart."""
    head, *rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]
    return {
        (row[0], names[title]): _number(cell)
        for row in rows
        for title, cell in zip(head, row, strict=False)
        if row[0] in world.names and title in names and not (title == "DEAD" and cell in _UNKNOWN)
    }


async def workers_command(world: World) -> Numbers:
    found = json.loads(command(world, "workers", "--json"))
    numbers: Numbers = {(ALL, name): sum(row[name] for row in found) for name in ("running", "done", "failed")}
    return numbers | {(ALL, "workers"): len(found)}


async def dead_command(world: World) -> Numbers:
    found = json.loads(command(world, "dead", "--json"))
    assert sum(group["count"] for group in found["groups"]) == found["count"]
    return {(ALL, "dead"): found["count"] if found["is_all"] else None}


async def api(world: World) -> Numbers:
    numbers, cursor = _overview(json.loads(get(world, "/api/v1/overview"))), ""
    while cursor is not None:
        page = json.loads(get(world, f"/api/v1/queues?limit=200&cursor={quote(cursor)}"))
        numbers |= _queues(page)
        cursor = page["next"]
    return numbers


def _overview(found: Mapping[str, Any]) -> Numbers:
    return {(ALL, name): found["totals"][name] for name in _SHOWN}


def _queues(found: Mapping[str, Any]) -> Numbers:
    numbers: Numbers = {}
    for row in found["items"]:
        numbers |= _of_queue(row, *_SHOWN, "in_flight")
    return {key: value for key, value in numbers.items() if key[1] != "dead" or value is not None}


async def desk(world: World) -> Numbers:
    """Its pages: totals of each page, the rows of all queues, and the letters that it counts."""
    page = get(world, "/queues")
    numbers: Numbers = {
        (ALL, name.lower()): _number(cell) for name, cell in _TOTAL.findall(page) if name.lower() in _SHOWN
    }
    while rows := _ROW.findall(page):
        for id, row in rows:
            for name, cell in _CELL.findall(row):
                if name.lower() in _SHOWN and not (name == "Dead" and _number(cell) is None):
                    numbers[html.unescape(id), name.lower()] = _number(cell)
        page = get(world, f"/queues?from={len({id for id, _ in numbers if id != ALL})}")
    if "app:dead" not in world.names:
        return numbers
    letters = re.search(r"Dead letters: ([\d,]+)", words(get(world, "/dead")))
    assert letters, "the page of dead letters says how many there are"
    return numbers | {("app:dead", "letters"): _number(letters[1])}


async def metrics(world: World) -> Numbers:
    """Of one process: gauges of queues are the broker's."""
    numbers: Numbers = {}
    for line in get(world, "/metrics").splitlines():
        if found := re.match(r'tasuki_queue_messages\{queue="([^"]+)",.*state="(\w+)"\} (\S+)', line):
            numbers[found[1], found[2]] = float(found[3])
    return numbers


async def mcp(world: World) -> Numbers:
    server = StdioServerParameters(
        command=TASUKI[0], args=[*TASUKI[1:], "mcp", *world.arguments], cwd=world.folder, env=environ()
    )
    with open(os.devnull, "w") as nowhere:
        async with Client(stdio_client(server, errlog=nowhere)) as client:

            async def ask(tool: str, arguments: dict[str, Any]) -> Any:
                (content,) = (await client.call_tool(tool, arguments)).content
                assert content.type == "text"
                return json.loads(content.text)

            numbers, cursor = _overview(await ask("overview", {})), ""
            while cursor is not None:
                page = await ask("list_queues", {"limit": 25, "cursor": cursor})
                assert "cut" not in page, "a cut page has no next one"
                numbers |= _queues(page)
                cursor = page["next"]
            return numbers


GREEN = "nothing needs attention"


def greens(world: World) -> dict[str, bool]:
    """Which faces say that nothing needs attention."""
    return {"desk": GREEN in words(get(world, "/")), "API": not notices(world)}


def notices(world: World) -> set[str]:
    """Codes of what the API says needs attention."""
    return {each["code"] for each in json.loads(get(world, "/api/v1/overview"))["notices"]}


def health(world: World) -> int:
    """The status of the answer of ``/livez``."""
    try:
        get(world, "/livez")
    except urllib.error.HTTPError as answer:
        return answer.code
    return 200


Face = Callable[[World], Awaitable[Numbers]]
FACES: Mapping[str, Face] = {
    "tasuki queues --json": queues_command,
    "tasuki queues": queues_table,
    "tasuki info": info_command,
    "tasuki top --once": top,
    "tasuki workers": workers_command,
    "tasuki dead": dead_command,
    "API": api,
    "desk": desk,
    "metrics": metrics,
    "MCP": mcp,
}
_COUNTS = frozenset({"ready", "in_flight", "delayed"})
_ROWS = frozenset({"ready", "running", "delayed", "dead", "workers"})
SAYS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "tasuki queues --json": (_COUNTS, frozenset()),
    "tasuki queues": (_COUNTS, frozenset()),
    "tasuki info": (frozenset(), frozenset()),
    "tasuki top --once": (_ROWS, frozenset()),
    "tasuki workers": (frozenset(), frozenset({"done", "failed", "workers"})),
    "tasuki dead": (frozenset(), frozenset({"dead"})),
    "API": (_ROWS | _COUNTS, _ROWS),
    "desk": (_ROWS, _ROWS),
    "metrics": (frozenset(), frozenset()),
    "MCP": (_ROWS | _COUNTS, _ROWS),
}
"""The numbers that each face must show, by queue and in total; ``metrics`` are of the process that reads the depths."""
