"""The rules of one message in its header ``x_rules``: which ones a publisher may set, and how foreign text is read."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki import Retries
from tasuki.backoff import Backoff
from tasuki.errors import PublishError
from tasuki.message import RULES
from tasuki.queues.messages.rules import MessageRules, RetryRules, header_of, rules_for, rules_of


def read(text: Any) -> MessageRules | None:
    return rules_of({RULES: text})


def test_a_time_and_a_number_of_attempts_are_all_that_is_said() -> None:
    rules = read(header_of(rules_for("2m", 3)))
    assert rules == MessageRules(120.0, 3)
    assert (rules.delays, rules.failures) == (None, None)
    assert read(header_of(rules_for("2m", None))) == MessageRules(120.0)
    assert read(header_of(rules_for(None, 3))) == MessageRules(None, 3)
    assert rules_of({}) is None


@pytest.mark.parametrize("as_fields", [False, True])
def test_retries_say_delays_and_errors_too(as_fields: bool) -> None:
    retries = Retries(4, on=(OSError,), never=("NotFound",), backoff="10s", max_delay="1m")
    rules = read(header_of(rules_for(None, retries.fields() if as_fields else retries)))
    assert rules is not None
    assert (rules.attempts, rules.delays) == (4, Backoff(10.0, 60.0))
    assert rules.failures == RetryRules(frozenset({"NotFound"}), frozenset({"builtins.OSError"}))


@pytest.mark.parametrize(
    ("timeout", "retries", "says"),
    [
        (0, None, "handler_timeout must be longer than 0 seconds, as in handler_timeout='30s'"),
        ("soon", None, "handler_timeout: 'soon' is not a duration"),
        (None, 0, "retries must be the number of attempts, 1 or more, or Retries.*, not 0"),
        (None, True, "retries must be the number of attempts"),
        (None, Retries(backoff="2m", max_delay="1m"), "the first delay .* is longer than max_delay"),
        (None, Retries(on=("x" * 5000,)), "more than 4096 bytes; give them to the task"),
    ],
)
def test_a_rule_that_is_none_is_refused(timeout: Any, retries: Any, says: str) -> None:
    with pytest.raises(PublishError, match=says):
        header_of(rules_for(timeout, retries))


@pytest.mark.parametrize(
    "text",
    ["", "{", "5", '{"handler_timeout":0}', '{"handler_timeout":-1}', '{"attempts":0}', '{"backoff":[-1,2]}',
     '{"attempts":"3"}', '{"else":1}', '{"handler_timeout":1e999}', 7, " " * 5000 + "{}"],
    ids=lambda text: str(text)[:20],
)  # fmt: skip
def test_what_another_program_wrote_counts_for_nothing(text: Any) -> None:
    assert read(text) is None
