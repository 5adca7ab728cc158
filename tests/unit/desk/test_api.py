"""The JSON API: what it answers, in pages, with all digits, and its acts."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tasuki import App
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_pages import fail

pytestmark = pytest.mark.anyio

V1 = "/api/v1"


class Program:
    """A client of the API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.client.get(V1 + path)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def post(self, path: str, status: int = 200, /, **body: Any) -> Any:
        answer = await self.client.post(V1 + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def program(browse: MakeBrowser) -> Program:
    return Program(browse(actor="kana").client)


async def ready(app: App, queue: str) -> int:
    return (await app._runtime.queue(queue).depth()).ready


async def test_the_overview(app: App, program: Program) -> None:
    await fail(app, bad="1")
    found = await program.get("/overview")

    assert found["totals"]["dead"] == 1
    assert found["queues"] == 3
    assert [(each["code"], each["values"].get("queue")) for each in found["notices"]] == [
        ("none_alive", None),
        ("dead", "app:dead"),
    ]
    assert found["notices"][0]["text"] == "No worker gives a sign of life. Start one: tasuki run"


async def test_queues_come_in_pages(program: Program) -> None:
    first = await program.get("/queues?limit=2")
    second = await program.get(f"/queues?limit=2&cursor={first['next']}")
    some = await program.get("/queues?q=IMAGE")

    assert [each["id"] for each in first["items"]] == ["app:dead", "app:images"]
    assert [each["id"] for each in second["items"]] == ["app:mails"]
    assert (first["count"], second["next"]) == (3, None)
    assert [each["id"] for each in some["items"]] == ["app:images"]


async def test_one_queue(app: App, program: Program) -> None:
    await app.publish("mails", {"to": "a"})

    found = await program.get("/queues/app:mails")

    assert (found["queue"]["ready"], found["queue"]["dead_letters"]) == (1, "app:dead")
    assert [each["id"] for each in found["consumers"]] == ["app:sender"]
    assert "peek" in found["capabilities"]["abilities"]
    assert (await program.get("/queues/app:images"))["schedules"] == ["app:hourly"]


async def test_messages_by_state_and_in_pages(app: App, program: Program) -> None:
    ids = [(await app.publish("mails", {"n": number})).id for number in range(5)]
    late = await app.publish("mails", {}, delay="1h")

    first = await program.get("/queues/app:mails/messages?limit=3")
    second = await program.get(f"/queues/app:mails/messages?limit=3&cursor={first['next']}")
    delayed = await program.get("/queues/app:mails/messages?state=delayed")

    assert [each["id"] for each in first["items"] + second["items"]] == ids
    assert second["next"] is None
    assert [(each["id"], each["state"]) for each in delayed["items"]] == [(late.id, "delayed")]
    for state in ("retrying", "running"):
        assert (await program.get(f"/queues/app:mails/messages?state={state}"))["items"] == []


async def test_numbers_keep_their_digits(app: App, program: Program) -> None:
    digits = ("123456789012345678901234567890", "0.1000000000000000055511151231257827")
    sent = b'{"body": {"big": %b, "long": %b}}' % tuple(map(str.encode, digits))
    answer = await program.client.post(
        f"{V1}/queues/app:dead/publish", content=sent, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 200, answer.text
    [message] = await app._runtime.queue("dead").peek()
    shown = await program.client.get(f"{V1}/messages/app:dead/{answer.json()['message']}")
    for each in digits:
        assert each in message.body.decode()
        assert each in shown.text.partition('"value":')[2]


async def test_one_message_with_everything(app: App, program: Program) -> None:
    id = "<b>/../x?&#\"'"
    await app.publish("mails", {"to": "a", "password": "hunter2"}, {"api_key": "k-123"}, id=id)

    found = await program.get(f"/messages/app:mails/{quote(id, safe='')}")

    assert (found["id"], found["state"], found["place"]) == (id, "waiting", 0)
    assert found["body"]["value"]["to"] == "a"
    assert "hunter2" not in str(found)
    assert "k-123" not in str(found)
    assert found["causes"][0]["code"] == "no worker"


async def test_a_message_that_is_not_there_is_404_and_says_why(program: Program) -> None:
    found = await program.get("/messages/app:mails/gone", 404)

    assert (found["code"], found["status"], found["title"]) == ("not_found", 404, "Not Found")
    assert "no such message" in found["detail"] or "gone" in found["detail"]
    assert (await program.get("/messages/app:mails/gone/explain"))["found"] is False
    assert (await program.get("/queues/app:nope", 404))["detail"] == "there is no queue 'app:nope'"
    assert (await program.get("/queues/mails", 404))["detail"] == "there is no queue 'mails'; did you mean 'app:mails'?"
    assert (await program.get("/nothing", 404))["code"] == "not_found"


async def test_dead_letters_in_groups_and_one_by_one(app: App, program: Program) -> None:
    ids = [await fail(app, bad=str(number)) for number in range(3)]

    groups = await program.get("/dead/groups?by=queue")
    letters = await program.get("/dead/app:dead?limit=2")
    rest = await program.get(f"/dead/app:mails?limit=2&cursor={letters['next']}")
    some = await program.get("/dead/app:dead?where=body.bad == '1'")
    wrong = await program.get("/dead/groups?where=(", 400)

    assert [(each["key"], each["count"]) for each in groups["groups"]] == [("app:mails", 3)]
    assert groups["is_all"]
    assert [each["id"] for each in letters["items"] + rest["items"]] == ids[::-1]
    assert groups["groups"][0]["dead"] == "app:dead"
    group = quote((await program.get("/dead/groups"))["groups"][0]["key"])
    assert (await program.get(f"/dead/app:dead?group={group}"))["count"] in (1, 3)
    assert (await program.get("/dead/app:dead?group=none"))["items"] == []
    assert [each["id"] for each in some["items"]] == [ids[1]]
    assert wrong["code"] == "invalid"


async def test_schedules_workers_and_health(program: Program) -> None:
    schedules = await program.get("/schedules")
    workers = await program.get("/workers")
    health = await program.get("/health")

    assert [(each["id"], each["queue"]) for each in schedules["items"]] == [("app:hourly", "app:images")]
    assert (workers["items"], workers["count"]) == ([], 0)
    assert (await program.get("/workers/here:1", 404))["code"] == "not_found"
    assert health.keys() == {"status", "live", "ready", "time", "checks"}


async def test_pause_and_resume_of_each_kind(app: App, program: Program) -> None:
    for kind, id in (("queues", "app:mails"), ("consumers", "app:sender"), ("schedules", "app:hourly")):
        done = await program.post(f"/{kind}/{id}/pause", 200, **{"for": "30m", "reason": "429"})
        assert (done["act"], done["target"], done["result"]) == ("pause", id, "done")
        assert done["text"] == f"{id} is paused."
    paused = (await program.get("/queues/app:mails"))["queue"]["paused"]
    assert (paused["actor"], paused["reason"]) == ("kana", "429")
    assert (await program.get("/schedules"))["items"][0]["paused"]["reason"] == "429"
    for kind, id in (("queues", "app:mails"), ("consumers", "app:sender"), ("schedules", "app:hourly")):
        assert (await program.post(f"/{kind}/{id}/resume"))["result"] == "done"
        assert (await program.post(f"/{kind}/{id}/resume"))["result"] == "not_paused"
    assert (await program.post("/queues/app:mails/pause", 400, **{"for": "soon"}))["code"] == "invalid"
    assert (await program.post("/consumers/app:mails/pause", 404))["detail"] == "there is no consumer 'app:mails'"


async def test_scale_and_its_bounds(program: Program) -> None:
    assert (await program.post("/consumers/app:sender/scale", concurrency=3))["result"] == "done"
    assert (await program.get("/queues/app:mails"))["consumers"][0]["scale"]["concurrency"] == 3
    assert (await program.post("/consumers/app:sender/scale", concurrency=None))["result"] == "reset"
    assert (await program.post("/consumers/app:sender/scale", 400, concurrency=1001))["code"] == "invalid"
    assert (await program.post("/consumers/app:sender/scale", 400))["code"] == "invalid"


async def test_publish_retry_cancel_purge_delete(app: App, program: Program) -> None:
    sent = await program.post(
        "/queues/app:mails/publish", body={"to": "a"}, headers={"tenant": "acme"}, delay="1h", id="m-1"
    )
    assert (sent["message"], sent["result"]) == ("m-1", "done")
    assert (await program.post("/messages/app:mails/m-1/cancel"))["result"] == "waiting"
    letter = await fail(app, bad="1")
    assert (await program.post(f"/messages/app:dead/{letter}/retry"))["text"].endswith("is back in app:mails.")
    assert (await program.post(f"/messages/app:dead/{letter}/retry", 404))["code"] == "not_found"
    assert (await program.post("/queues/app:mails/purge", 409, at_most=0))["code"] == "more_than_asked"
    assert await ready(app, "mails") == 1
    assert (await program.post("/queues/app:mails/purge", at_most=1))["count"] == 1
    deleted = await program.client.delete(f"{V1}/queues/app:images", headers={"content-type": "application/json"})
    assert (deleted.status_code, deleted.json()["act"]) == (200, "delete")
    acts = await program.get("/audit?limit=2")
    assert [each["act"] for each in acts["items"]] == ["delete", "purge"]
    assert acts["items"][0].keys() >= {"time", "actor", "from", "act", "target", "filter", "count", "result", "batch"}
    more = await program.get(f"/audit?limit=2&cursor={acts['next']}&q=kana")
    assert [each["act"] for each in more["items"]] == ["redrive", "redrive"]


async def test_a_schedule_runs_now(app: App, program: Program) -> None:
    done = await program.post("/schedules/app:hourly/run")

    assert await ready(app, "images") == 1
    assert done["message"] in done["text"]


async def test_a_wrong_body_of_a_message_is_told(program: Program) -> None:
    assert (await program.post("/queues/app:mails/publish", 400))["detail"].startswith("body: Object missing required")
    found = await program.post("/queues/app:mails/publish", 400, body=1, priority=10)
    assert "$.priority" in found["detail"]
    assert (await program.post("/queues/app:mails/publish", 400, body=1, headers={"x_cause": "1"}))[
        "code"
    ] == "not_valid"


async def test_no_message_is_published_that_a_consumer_cannot_read(app: App, program: Program) -> None:
    url, kind = f"{V1}/queues/app:dead/publish", {"content-type": "application/json"}
    for content in (b'{"body": "\xff"}', b'{"body": {"a": "\\ud800"}}', b'{"body": 1e999}'):
        answer = await program.client.post(url, content=content, headers=kind)
        assert answer.status_code == 400, content
    assert await ready(app, "dead") == 0
    for name in ("application/msgpack", "application/json", "text/plain"):
        body = {"body": {"n": 1}, "headers": {"content_type": name}}
        answer = await program.client.post(url, content=json.dumps(body).encode(), headers=kind)
        for message in await app._runtime.queue("dead").peek(10):
            assert app._runtime.queue("dead").decode(message) == {"n": 1}, (name, answer.text)
    assert await ready(app, "dead") > 0


async def test_a_queue_without_its_namespace_is_told_its_id(program: Program) -> None:
    problem = await program.post("/queues/mails/pause", 404)
    assert problem["detail"] == "there is no queue 'mails'; did you mean 'app:mails'?"


async def test_a_key_makes_a_request_happen_once(app: App, program: Program) -> None:
    url, body = f"{V1}/queues/app:mails/publish", {"body": {"to": "a"}}
    answers = [await program.client.post(url, json=body, headers={"idempotency-key": "order-7"}) for _ in range(3)]
    other = await program.client.post(url, json={"body": 2}, headers={"idempotency-key": "order-7"})
    long = await program.client.post(url, json=body, headers={"idempotency-key": "x" * 201})

    assert len({answer.text for answer in answers}) == 1
    assert ["idempotency-replayed" in answer.headers for answer in answers] == [False, True, True]
    assert await ready(app, "mails") == 1
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert long.status_code == 400


async def test_a_refusal_is_given_again_too(program: Program) -> None:
    url, headers = f"{V1}/queues/app:mails/pause", {"idempotency-key": "k"}
    answers = [await program.client.post(url, json={"for": "soon"}, headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[1].headers["content-type"] == "application/problem+json"
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_long_answers_are_compressed_and_head_has_no_body(program: Program) -> None:
    raw = await program.client.get("/openapi.json", headers={"accept-encoding": "gzip"})
    plain = await program.client.get("/openapi.json", headers={"accept-encoding": "identity"})

    assert raw.headers["content-encoding"] == "gzip"
    assert raw.json() == plain.json()
    assert "content-encoding" not in plain.headers
    assert (await program.client.head(f"{V1}/queues")).status_code == 200


async def test_a_delayed_message_runs_now(app: App, program: Program) -> None:
    late = await app.publish("mails", {}, delay="1h")
    path = f"/messages/app:mails/{late.id}/reschedule"

    assert (await program.post(path, 200, **{"in": "5m"}))["text"].endswith("is due in 5m.")
    assert (await program.post(path, 400, **{"in": "soon"}))["code"] == "invalid"
    assert (await program.post(path))["count"] == 1
    assert await ready(app, "mails") == 1
    assert (await program.post(path, 404))["code"] == "not_found"
    assert [each["filter"] for each in (await program.get("/audit"))["items"]] == [f"id:{late.id}"] * 3
