"""Two hundred pairs of policies and acts: desk, API, MCP and command line do what ``policy explain`` says."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.app.state.pausing import Steering, Target
from tasuki.desk.site import Site
from tests.support.narrow import present
from tests.unit.cli.conftest import CommandLine
from tests.unit.desk.letters import bury
from tests.unit.mcp.conftest import Caller, connected

ENTRIES: list[dict[str, Any]] = [
    {"name": "driver", "kind": "queue.driver.sqlite"},
    {"name": "mails", "kind": "queue.queue", "driver": "driver", "dead_letter": {"queue": "dead"}},
    {"name": "dead", "kind": "queue.queue", "driver": "driver"},
]
COUNTS: dict[str, Any] = {"name": "counts", "kind": "security.policy"}
COUNTS["policy"] = {"actions": ["queue.info.queue"], "resources": "*", "effect": "allow"}
"""For the command line, which counts before it removes."""
ACTS: Mapping[str, str] = {"peek": "app:mails", "redrive": "app:dead", "purge": "app:mails", "pause": "app:mails"}
"""Act → the queue that it is about."""
ACTIONS = (
    "*", "queue.*", "queue.admin.*", "queue.a*", "*admin*", "*.purge", "*peek", "*.redrive", "*.pause", "q*",
    "queue.admin.peek", "queue.admin.redrive", "queue.admin.purge", "queue.admin.pause", "queue.publish.*", "funcs.*",
)  # fmt: skip
RESOURCES = ("*", "*", "app:*", "app:mails", "app:dead", "*:dead", "*mail*", "app:other")
ABOUT_KANA: tuple[dict[str, Any], ...] = (
    {"conditions": [{"field": "actor.id", "operator": "eq", "value": "kana"}]},
    {"conditions": [{"field": "actor.id", "operator": "in", "value": ["mika", "kana"]}]},
    {"conditions": [{"field": "actor.id", "operator": "exists"}]},
    {"conditions": [{"field": "actor.id", "operator": "matches", "value": "^k"}]},
    {"expression": 'actor.id == "kana"'},
    {"expression": 'actor.id startsWith "k" && resource != "app:other"'},
)
ABOUT_OTHERS: tuple[dict[str, Any], ...] = (
    {"conditions": [{"field": "actor.id", "operator": "eq", "value": "mika"}]},
    {"conditions": [{"field": "actor.meta.team", "operator": "eq", "value": "red"}]},
    {"expression": 'actor.id != "kana"'},
)
SETS, SECRET = 50, "the-body-of-a-message"


@dataclass
class Case:
    """Policies, and what their form says."""

    policies: list[dict[str, Any]]
    has_code: bool = False
    """Whether an allow asks nothing about the actor: it counts for the application that it is attached to alone."""


def cases() -> list[Case]:
    """The same ones in each run."""
    chance, found = random.Random(45), list[Case]()
    for number in range(SETS):
        case = Case([])
        for at in range(chance.randint(1, 3)):
            effect = chance.choice(("allow", "allow", "deny"))
            about = chance.choice(ABOUT_KANA if chance.random() < 0.7 else ABOUT_OTHERS)
            if effect == "deny" and chance.random() < 0.5:
                about = {}
            if effect == "allow" and number % 5 == 0 and chance.random() < 0.5:
                about, case.has_code = {}, True
            policy = {"actions": chance.choice(ACTIONS), "resources": chance.choice(RESOURCES), "effect": effect}
            kind = "security.policy.expr" if "expression" in about else "security.policy"
            case.policies.append({"name": f"p{at}", "kind": kind, "policy": policy | about})
        found.append(case)
    return found


def write(folder: Path, case: Case) -> None:
    """The project, whose application acts as kana with all policies."""
    policies = [*case.policies, COUNTS]
    application = {"actor": {"id": "kana"}, "policies": [each["name"] for each in policies]}
    identity = {"name": "security", "kind": "security.config", "application": application}
    document = {"version": "1.0", "namespace": "app", "entries": [*ENTRIES, *policies, identity]}
    (folder / "_index.yaml").write_text(yaml.safe_dump(document))


@dataclass
class Doors:
    """The same acts through each door, as the actor kana; each returns whether it happened."""

    app: App
    client: httpx.AsyncClient
    mcp: Caller
    form_token: str

    async def peek(self) -> dict[str, bool]:
        page = await self.client.get("/messages/app:mails/m")
        api = await self.client.get("/api/v1/messages/app:mails/m")
        for answer in (page, api):
            assert (answer.status_code == 200) == (SECRET in answer.text), answer.text
        tool = await self.mcp.text("message", queue="app:mails", id="m")
        assert ("error: " in tool) == (SECRET not in tool)
        return {"desk": page.status_code == 200, "api": api.status_code == 200, "mcp": SECRET in tool}

    async def redrive(self) -> dict[str, bool]:
        fields = {"act": "redrive", "kind": "queue", "id": "app:dead", "message": "a"}
        found = {"desk": await self._post("redrive", fields)}
        found["api"] = await self._api("/messages/app:dead/b/retry")
        found["mcp"] = await self._tool("retry", queue="app:dead", id="c")
        left = {message.id for message in await present(self.app._runtime.assembly).queues["app:dead"].peek(10)}
        assert found == {door: id not in left for door, id in zip(found, "abc", strict=True)}
        return found

    async def purge(self) -> dict[str, bool]:
        fields = {"act": "purge", "kind": "queue", "id": "app:mails", "name": "app:mails", "count": "1000"}
        return {
            "desk": await self._empties(self._post("purge", fields)),
            "api": await self._empties(self._api("/queues/app:mails/purge")),
        }

    async def pause(self) -> dict[str, bool]:
        fields = {"act": "pause", "kind": "queue", "id": "app:mails"}
        return {
            "desk": await self._pauses(self._post("pause", fields)),
            "api": await self._pauses(self._api("/queues/app:mails/pause")),
            "mcp": await self._pauses(self._tool("pause", kind="queue", id="app:mails")),
        }

    async def _post(self, act: str, fields: dict[str, str]) -> bool:
        """The form of a session, whether or not its page shows it."""
        asks = await self.client.get("/confirm", params=fields)
        done = await self.client.post(f"/acts/{act}", data=fields | {"token": self.form_token})
        assert (asks.status_code, done.status_code) in ((200, 303), (403, 403)), done.text
        return done.status_code == 303

    async def _api(self, path: str) -> bool:
        done = await self.client.post(f"/api/v1{path}", json={})
        assert done.status_code in (200, 403), done.text
        return done.status_code == 200

    async def _tool(self, name: str, **given: Any) -> bool:
        text = await self.mcp.text(name, **given)
        is_denied = "kana may not" in text or "acts need a policy" in text
        assert text.startswith("error: ") == is_denied, text
        return not is_denied

    async def _empties(self, act: Any) -> bool:
        queue = present(self.app._runtime.assembly).queues["app:mails"]
        await queue.publish({"n": 1})
        done = bool(await act)
        depth = await queue.driver.depth(queue.spec.name)
        assert (depth.ready == 0) == done
        return done

    async def _pauses(self, act: Any) -> bool:
        done, live = bool(await act), present(self.app._runtime.assembly)
        was_paused = await Steering(live, None, "").resume(Target("queue", "app:mails"))
        assert (was_paused is not None) == done
        return done


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Doors]:
    async with App.load(folder) as app:
        desk = app.desk(actor="kana", is_open=True)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client,
            connected(app, actor="kana", allows_acts=True, site=Site(reader_of(app), None, opens=True)) as mcp,
        ):
            await client.get("/queues")
            session = present(desk.tools.sessions.read(client.cookies["tasuki"]))
            yield Doors(app, client, mcp, desk.tools.sessions.form_token(session))


async def fill(folder: Path) -> None:
    """A message to look at, and four letters."""
    (folder / "_index.yaml").write_text(yaml.safe_dump({"version": "1.0", "namespace": "app", "entries": ENTRIES}))
    async with App.load(folder) as app:
        await app._runtime.queue("mails").purge()
        await app._runtime.queue("dead").purge()
        await app.publish("mails", {"text": SECRET}, id="m")
        await bury(app, "a", "b", "c", "d")


async def through_doors(folder: Path) -> tuple[dict[str, dict[str, bool]], bool]:
    """What happened, by act and door; and whether a policy says who may act, which MCP asks for besides."""
    async with opened(folder) as doors:
        found = {act: await getattr(doors, act)() for act in ACTS}
        return found, present(doors.app._runtime.assembly).rights.admin.are_declared


def explains(tasuki: CommandLine, act: str, *options: str) -> bool:
    document = tasuki.json("policy", "explain", *options, f"queue.admin.{act}", ACTS[act])
    return bool(document["allowed"])


def by_command(tasuki: CommandLine) -> dict[str, bool]:
    """What the command line does, as the application."""
    found = {}
    for act, words in (
        ("peek", ("peek", "mails")),
        ("redrive", ("redrive", "dead", "--id", "d")),
        ("purge", ("purge", "mails", "-y")),
    ):
        done = tasuki(*words)
        assert done.returncode == 0 or "not allowed to" in done.stderr, done.stderr
        found[act] = done.returncode == 0
        assert act != "peek" or found[act] == (SECRET in done.stdout)
    return found


def test_every_door_does_what_explain_says(tasuki: CommandLine, project: Path) -> None:
    tally = Counter[str]()
    for case in cases():
        asyncio.run(fill(project))
        write(project, case)
        explained = {act: explains(tasuki, act, "--actor", "kana") for act in ACTS}
        code = {act: explains(tasuki, act) for act in ACTS}
        done, are_declared = asyncio.run(through_doors(project))
        for act, doors in done.items():
            wanted = dict.fromkeys(doors, explained[act])
            if act != "peek" and "mcp" in doors:  # its second key: without a policy on acts it does none
                wanted["mcp"] = explained[act] and are_declared
            assert doors == wanted, (act, case.policies)
            tally["allowed" if explained[act] else "denied"] += 1
        asyncio.run(fill(project))
        write(project, case)
        commands = by_command(tasuki)
        assert commands == {act: code[act] for act in commands}, case.policies
        if not case.has_code:  # then the application and the desk have the same policies
            assert code == explained, case.policies
            tally["all five"] += len(commands)
    assert tally["allowed"] + tally["denied"] == SETS * len(ACTS) == 200
    assert min(tally["allowed"], tally["denied"]) > 50, tally
    assert tally["all five"] >= 120
