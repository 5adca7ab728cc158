"""The rules of the desk that need no request: access, sessions, rates, words, numbers, attention."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from tasuki.app.explain.rule import Code
from tasuki.contracts.driver import Depth
from tasuki.desk.presentation import numbers
from tasuki.desk.presentation.words import LANGUAGES, catalogue, choose, say, tell
from tasuki.desk.reading.attention import is_failed, notices_of
from tasuki.desk.reading.rows import Rates
from tasuki.desk.reading.snapshot import ConsumerRow, QueueRow, RunningRow, Snapshot
from tasuki.desk.security.access import LOOPBACK, Access, client_behind, host_name, names_of
from tasuki.desk.security.gate import Rate
from tasuki.desk.security.sessions import LIFE, Sessions
from tasuki.desk.tools import Said
from tasuki.state.pauses import Pause
from tasuki.state.worker_record import Presence, PresentConsumer, RunningMessage, Unlisted, WorkerHealth
from tasuki.testing.clock import FakeClock


def test_another_host_needs_a_token() -> None:
    with pytest.raises(ValueError, match=r"answer to desk\.example without a token"):
        Access(names_of(["Desk.example:443"]), is_open=True)
    assert Access(names_of(["Desk.example:443"]), "t" * 22).hosts == LOOPBACK | {"desk.example"}


def test_a_short_token_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="has 5 characters, and needs 22") as caught:
        Access(token="short")
    assert "short" not in str(caught.value)


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond ASCII, which a header cannot carry"):
        Access(token="tökén" * 10)


def test_a_header_needs_its_proxy() -> None:
    with pytest.raises(ValueError, match="address of the proxy"):
        Access(actor_header="x-user")


def test_a_desk_is_open_only_where_that_is_said_and_for_this_machine_alone() -> None:
    with pytest.raises(ValueError, match="the desk needs a token, or a proxy that names the actor"):
        Access()
    with pytest.raises(ValueError, match="the desk needs a token"):
        Access(proxies=frozenset({"10.0.0.1"}))
    assert Access(is_open=True).hosts == LOOPBACK
    for more in ({"token": "t" * 22}, {"proxies": frozenset({"127.0.0.1"})}):
        with pytest.raises(ValueError, match="an open desk has no token and no proxy"):
            Access(is_open=True, **more)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7", "1.1.1.1, 2001:DB8::7"], "2001:db8::7"),
        (["1.1.1.1,"], "10.0.0.1"),
        (["203.0.113.7", ""], "10.0.0.1"),
        (["<script>"], "10.0.0.1"),
        (["fe80::1%<script>"], "10.0.0.1"),
        (["unknown"], "10.0.0.1"),
        (["1.2.3.4.5"], "10.0.0.1"),
        (["x" * 10_000], "10.0.0.1"),
    ],
)
def test_a_client_behind_a_proxy_is_the_last_address_or_the_proxy(lines: list[str], client: str) -> None:
    assert client_behind(lines, "10.0.0.1") == client


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:80", "localhost"),
        ("[::1]:9321", "::1"),
        ("[::1]", "::1"),
        ("a.b.", "a.b"),
        ("a:b", ""),
        ("[::1", ""),
        ("[::1]x", ""),
        ("a:123456", ""),
        ("", ""),
        ("a:", ""),
    ],
)
def test_a_host_without_its_port(host: str, name: str) -> None:
    assert host_name(host) == name


def test_a_session_ends_and_cannot_be_made() -> None:
    clock = FakeClock()
    sessions = Sessions("t" * 30, clock)
    cookie = sessions.new()
    id = sessions.read(cookie)

    assert id
    assert Sessions("t" * 30, clock).read(cookie) == id, "another process knows it"
    assert Sessions("u" * 30, clock).read(cookie) is None
    assert Sessions(None, clock).read(cookie) is None
    assert sessions.read(cookie[:-1] + ("0" if cookie[-1] != "0" else "1")) is None
    assert sessions.read(cookie.replace(id, "x")) is None
    assert sessions.read("") is None
    assert sessions.read(cookie, "proxy") is None
    assert sessions.read(sessions.new("proxy"), "proxy")
    assert sessions.read("é.1.2") is None
    assert sessions.is_form_token(id, sessions.form_token(id))
    assert not sessions.is_form_token("x", sessions.form_token(id))
    clock.advance(LIFE)
    assert sessions.read(cookie) is None


def test_a_rate_is_for_each_client() -> None:
    clock = FakeClock()
    rate = Rate(1.0, 2, clock)

    assert [rate.take("a") for _ in range(3)] == [0, 0, 1.0]
    assert rate.take("b") == 0
    clock.advance(1)
    assert rate.take("a") == 0
    for number in range(2000):
        rate.take(str(number))
    assert rate.take("a") == 0, "forgotten"


def test_too_much_is_not_kept_to_be_said() -> None:
    from tasuki.desk.security.sessions import ActorSession

    said = Said(most=2)
    sessions = [ActorSession(str(number), "", "", "") for number in range(3)]
    for each in sessions:
        said.put(each, each.id)

    assert [said.pop(each) for each in sessions] == ["", "1", "2"]
    assert said.pop(None) == ""


def plain(keys: set[str]) -> set[str]:
    return {key.removesuffix(".one").removesuffix(".other") for key in keys}


def test_the_languages_say_the_same() -> None:
    english, japanese = (catalogue(language) for language in LANGUAGES)

    assert plain(set(english)) == plain(set(japanese))
    for key, text in japanese.items():
        other = english.get(key) or english[f"{key}.other"]
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", other)), key
    for key in english:
        if key.endswith(".one"):
            assert key.removesuffix("one") + "other" in english


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_cause_has_a_name(language: str) -> None:
    named = {key for key in catalogue(language) if key.startswith("why.")}
    assert named == {f"why.{code}" for code in get_args(Code)}


@pytest.mark.parametrize(
    ("asked", "remembered", "accepted", "language"),
    [
        ("ja", "en", "en", "ja"),
        ("xx", "ja", "en", "ja"),
        ("", "", "fr, ja;q=0.5, en;q=0.4", "ja"),
        ("", "", "", "en"),
        ("", "", "ja-JP,ja;q=0.9,en-US;q=0.8", "ja"),
        ("", "", "en;q=x, ja;q=0.1", "ja"),
        ("<b>", "<b>", "*", "en"),
    ],
)
def test_the_language_of_a_page(asked: str, remembered: str, accepted: str, language: str) -> None:
    assert choose(asked, remembered, accepted) == language


def test_one_and_many() -> None:
    assert say("en", "done.purge", {"n": "1", "id": "q"}) == "Removed 1 message from q."
    assert say("en", "done.purge", {"n": "2", "id": "q"}) == "Removed 2 messages from q."
    assert say("ja", "done.purge", {"n": "1", "id": "q"}) == "qから1件を削除しました。"


@pytest.mark.parametrize(
    ("seconds", "english", "japanese"),
    [
        (0.84, "840 ms", "840ミリ秒"),
        (12, "12 s", "12秒"),
        (245, "4 m 05 s", "4分05秒"),
        (11520, "3 h 12 m", "3時間12分"),
        (200000, "2 d", "2日"),
        (-3, "0 ms", "0ミリ秒"),
        (59.7, "1 m 00 s", "1分00秒"),
        (None, numbers.NONE, numbers.NONE),
    ],
)
def test_durations(seconds: float | None, english: str, japanese: str) -> None:
    assert numbers.duration(seconds) == english
    assert numbers.duration(seconds, "ja") == japanese


def test_other_numbers() -> None:
    assert numbers.number(1204) == "1,204"
    assert numbers.number(None) == numbers.NONE
    assert [numbers.rate(each) for each in (41.24, 0.0, 1 / 60, 0.001)] == ["41.2/s", "0.0/s", "0.02/s", "0.01/s"]
    assert [numbers.size(each) for each in (422, 1229, 3 * 2**20)] == ["422 B", "1.2 KiB", "3.0 MiB"]
    assert numbers.clock(1e9) == "2001-09-09 01:46:40 UTC"
    assert [numbers.iso(each) for each in (-1, 1e300, float("nan"))] == ["", "", ""]


def row(**fields: object) -> QueueRow:
    known = {"id": "app:mails", "driver": "app:driver", "depth": Depth(3, 0, 0, 400.0)}
    return QueueRow(**(known | fields))  # type: ignore[arg-type]


WORKS = ConsumerRow("app:sender", 1, 2, 0, 0, 0)


IDLE = ConsumerRow("app:sender", 0, 0, 0, 0, 0)
LONG = RunningRow(RunningMessage("m", "app:send", 10.0, bound=300.0), "app:sender", "host", 1, "k", seen=490.0)


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({}, ["attention.old"]),
        ({"consumers": [WORKS]}, ["attention.old"]),
        ({"consumers": [ConsumerRow("app:sender", 0, 0, 0, 0, 0)]}, ["attention.no_worker"]),
        ({"consumers": [WORKS], "now_failed": 2.0, "now_out": 0.0}, ["attention.failing"]),
        ({"paused": Pause(100.0)}, []),
        ({"paused": Pause(100.0 - 86500)}, ["attention.long_pause"]),
        ({"is_dead_letters": True}, ["attention.dead"]),
        ({"depth": None}, []),
        ({"depth": Depth(3, 0, 0, 10.0), "consumers": [WORKS]}, []),
        ({"depth": Depth(0, 0, 32, 0.0), "consumers": [IDLE]}, ["attention.no_worker"]),
        ({"consumers": [IDLE], "wants_workers": True}, ["attention.none_alive", "attention.no_worker"]),
        ({"depth": Depth(0, 0, 0, 0.0), "consumers": [IDLE], "wants_workers": True}, ["attention.none_alive"]),
        ({"depth": Depth(9, 0, 0, 1.0), "consumers": [IDLE], "knows_workers": False, "wants_workers": True}, []),
        ({"depth": Depth(0, 0, 0, 0.0), "consumers": [WORKS], "wants_workers": True}, []),
        ({"depth": Depth(0, 0, 0, 0.0), "consumers": [WORKS], "handlers": [LONG]}, ["attention.long_run"]),
        ({"paused": Pause(100.0), "handlers": [LONG]}, ["attention.long_run"]),
    ],
)
def test_what_needs_attention(fields: dict[str, object], keys: list[str]) -> None:
    snapshot = Snapshot(0.0, 100.0, {"app:mails": row(**fields)})

    assert [notice.key for notice in notices_of(snapshot)] == keys


def test_a_silent_worker_and_a_broker_that_is_away_need_attention() -> None:
    worker = Presence("host", 1, "1", 0.0, 80.0)
    snapshot = Snapshot(0.0, 100.0, {}, [worker], ["redis://… refused"])

    assert [notice.key for notice in notices_of(snapshot)] == ["attention.problem", "attention.silent"]


def worker(pid: int = 1, **fields: Any) -> Presence:
    return Presence("host", pid, "1", 0.0, 100.0, **fields)


def keys_of(snapshot: Snapshot) -> list[str]:
    return [notice.key.removeprefix("attention.") for notice in notices_of(snapshot)]


@pytest.mark.parametrize(
    ("health", "keys"),
    [
        (None, []),
        (WorkerHealth("ok"), []),
        (WorkerHealth("warning", "loop", "blocked for 1 s"), []),
        (WorkerHealth("not_ready", "worker", "starting"), []),
        (WorkerHealth("not_ready", "worker", "stopping, 1 running"), []),
        (WorkerHealth("not_ready", "consumer app:a", "it has given up"), ["not_ready"]),
        (WorkerHealth("not_live", "loop", "blocked for 9 s"), ["not_live"]),
        (WorkerHealth("not_live", "worker", "no sign of life for 25 s"), ["not_live"]),
    ],
)
def test_a_worker_that_is_not_live_or_not_ready_needs_attention(health: WorkerHealth | None, keys: list[str]) -> None:
    snapshot = Snapshot(0.0, 101.0, {}, [worker(health=health)])
    assert keys_of(snapshot) == keys
    assert is_failed(notices_of(snapshot)) is (keys == ["not_live"])


def test_lost_workers_are_one_notice_that_names_the_last_one() -> None:
    snapshot = Snapshot(0.0, 130.0, {}, [], [], [worker(2), worker(1)])
    (notice,) = notices_of(snapshot)
    assert (notice.key, notice.values) == ("attention.lost", {"n": 2, "worker": "host:2", "age": 30.0})
    assert tell("en", notice.key, notice.values) == (
        "2 workers are silent, host:2 for 30 s: killed, frozen or cut off from their store."
    )


def test_while_a_worker_hides_consumers_none_is_said_to_be_missing() -> None:
    rows = {"app:mails": row(consumers=[IDLE], wants_workers=True, depth=Depth(0, 0, 0, 0.0))}
    hides = worker(unlisted=Unlisted(3, 3, 1, 5, 0))
    assert keys_of(Snapshot(0.0, 101.0, rows, [hides])) == []
    totals = Snapshot(0.0, 101.0, rows, [hides]).totals
    assert (totals.running, totals.places, totals.out_rate) == (1, 3, None)


def test_a_rate_is_the_gain_of_workers_that_were_there_before() -> None:
    rates = Rates()
    rates.note([counted(1, 100.0, 100, 0)], 0.0)
    assert rates.of("d", "q") == (None, None)
    rates.note([counted(1, 110.0, 150, 10), counted(2, 110.0, 1000, 1000)], 10.0)

    assert rates.of("d", "q") == (5.0, 1.0)
    assert rates.of("d", "other") == (0.0, 0.0)


def test_a_rate_is_over_the_time_between_two_signs() -> None:
    """A snapshot comes up to five seconds after a sign: of 13 a second it would have made 7."""
    rates = Rates()
    rates.note([counted(1, 99.0, 0, 0)], 0.0)
    rates.note([counted(1, 99.0, 0, 0)], 5.5)
    assert rates.of("d", "q") == (None, None), "its next sign may come yet"
    rates.note([counted(1, 104.0, 65, 0)], 9.0)
    assert rates.of("d", "q") == (13.0, 0.0)


def test_a_worker_without_a_new_sign_for_two_periods_has_done_nothing() -> None:
    rates = Rates()
    for at in (0.0, 6.0, 11.0):
        rates.note([counted(1, 99.0, 7, 0)], at)
    assert rates.of("d", "q") == (0.0, 0.0)


def counted(pid: int, seen: float, done: int, failed: int) -> Presence:
    """A worker and its counters at a sign."""
    return Presence("host", pid, "1", 0.0, seen, [PresentConsumer("c", "q", "d", 1, done=done, failed=failed)])
