import logging

import pytest

from tasuki.errors import PolicyDeniedError
from tasuki.security import guard as guard_module
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Policy, Scope
from tests.unit.security.test_policy import policy


def guard(*policies: Policy, strict: bool = False) -> Guard:
    return Guard(Actor("me"), Scope(policies), strict=strict)


def test_what_is_allowed_passes_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    one = guard(policy())
    one.publish("app:q")
    one.consume("app:q")
    one.require("funcs.call", "app:f", "no")
    assert caplog.records == []


def test_a_denial_is_raised_and_logged_once_with_actor_action_resource_and_policy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(PolicyDeniedError) as caught:
        guard(policy(), policy("deny", "funcs.*", id="app:no")).require("funcs.call", "app:f", "not allowed: app:f")
    error = caught.value
    assert str(error) == "not allowed: app:f"
    assert (error.actor, error.action, error.resource, error.policy) == ("me", "funcs.call", "app:f", "app:no")
    assert (error.kind, error.details) == ("Invalid", {"reason": "permission_denied"})
    [record] = caplog.records
    assert (record.name, record.levelno) == ("tasuki.security", logging.WARNING)
    facts = tuple(vars(record)[name] for name in ("actor", "action", "resource", "policy"))
    assert facts == ("me", "funcs.call", "app:f", "app:no")


def test_the_words_of_a_denied_publish() -> None:
    with pytest.raises(PolicyDeniedError, match=r"^not allowed to publish to queue: app:q$"):
        guard().publish("app:q")
    with pytest.raises(PolicyDeniedError, match=r"^not allowed to publish to queue: app:q$"):
        guard(policy("deny", resources="app:q")).publish("app:q")
    with pytest.raises(PolicyDeniedError, match=r"^queue publishing not allowed$"):
        guard(policy("deny", "queue.publish", "*")).publish("app:q")
    with pytest.raises(PolicyDeniedError, match=r"^queue publishing not allowed$"):
        guard().publish("")
    with pytest.raises(PolicyDeniedError, match=r"^not allowed to publish to queue: app:q$"):
        Guard(strict=True).publish("app:q")


@pytest.mark.parametrize(
    "trick",
    ["app:tasks\n", "APP:tasks", "app:tasks/../x", "app:tasks.", "app:t\u0430sks", "app:*", "*", "", "x" * 10_000],
)
def test_a_name_that_only_looks_like_an_allowed_one_is_denied(trick: str) -> None:
    exact = guard(policy(actions="queue.*", resources="app:tasks"))
    exact.publish("app:tasks")
    with pytest.raises(PolicyDeniedError):
        exact.publish(trick)
    with pytest.raises(PolicyDeniedError):
        exact.consume(trick)


def test_a_denied_consumer_is_told_which_policy(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PolicyDeniedError, match=r"app:q \(actor 'me': no policy allows it\)"):
        guard().consume("app:q")
    with pytest.raises(PolicyDeniedError, match=r"actor 'me': policy 'app:no' denies it"):
        guard(policy("deny", id="app:no")).consume("app:q")
    with pytest.raises(PolicyDeniedError, match="nobody: there is no actor, and security is strict"):
        Guard(strict=True).consume("app:q")
    assert len(caplog.records) == 3


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "_MAX_REMEMBERED", 10)
    one = guard(policy(resources="app:*"))
    for number in range(35):
        assert one.decide("a", f"app:{number}").allowed
        assert one.decide("a", f"app:{number}") is one.decide("a", f"app:{number}")
        assert len(one._remembered) <= 10
    assert not one.decide("a", "x" * 100_000).allowed
    assert all(len(resource) < 1000 for _, resource in one._remembered)


def test_meta_is_looked_at_every_time() -> None:
    one = guard(policy(conditions=[("meta.key", "eq", "k")]))
    assert one.decide("store.key.get", "app:s", {"key": "k"}).allowed
    assert not one.decide("store.key.get", "app:s", {"key": "x"}).allowed
    assert not one.decide("store.key.get", "app:s").allowed


def test_it_shows_who_it_is_for() -> None:
    assert repr(guard()) == "<guard of me>"
    assert repr(Guard()) == "<guard of no actor>"
