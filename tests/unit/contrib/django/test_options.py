"""OPTIONS of a TasukiBackend."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from tasuki.contrib.django.tasks.backend import Options, TasukiBackend, priority_of, read_options
from tasuki.contrib.django.tasks.results import Results
from tests.support.django_site import tasks


def test_the_default_is_what_users_of_django_expect() -> None:
    assert read_options("default", {}, []) == Options(max_attempts=1, results=None, transactional=False)
    assert Options().result_seconds == 7 * 24 * 3600


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"max_attemps": 3}, "has no option 'max_attemps'; did you mean 'max_attempts'"),
        ({"retries": 3}, "has no option 'retries'; there are: max_attempts, results,"),
        ({"max_attempts": 0}, "must be a number from 1 on, not 0"),
        ({"max_attempts": True}, "must be a number from 1 on, not True"),
        ({"result_ttl": "a week"}, r"\['result_ttl'\]: "),
        ({"queues": {"fast": {}}}, "names 'fast', which QUEUES of 'default' does not have"),
        ({"queues": ["slow"]}, r"\['queues'\] must be a dict, not \['slow'\]"),
        ({"queues": {"slow": "5m"}}, r"\['queues'\]\['slow'\] must be a dict of fields, not '5m'"),
        ({"workers": 4}, r"\['workers'\] must be a dict, not 4"),
        ({"priority": "no"}, r"\['priority'\] must be True or False, not 'no'"),
        ({"transactional": None}, r"\['transactional'\] must be True or False, not None"),
        ({"results": True}, r"\['results'\] must be the alias of a cache, not True"),
    ],
)
def test_mistakes_name_the_option(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem):
        read_options("default", given, ["slow"])


def test_priorities_keep_their_order_in_ten_steps() -> None:
    steps = [priority_of(value) for value in range(-100, 101)]
    assert steps == sorted(steps)
    assert {step: steps.count(step) for step in steps}.keys() == set(range(10))
    assert (steps[0], steps[100], steps[200]) == (0, 4, 9)


def test_a_cache_that_does_not_exist_is_refused() -> None:
    backend = TasukiBackend("default", {"QUEUES": ["default"], "OPTIONS": {"results": "defualt"}})
    (error,) = backend.check()
    assert error.msg == "TASKS['default'] keeps results in the cache 'defualt', which CACHES does not have"
    assert error.hint == "did you mean 'default'?"


def test_a_cache_of_one_process_is_refused() -> None:
    assert not Results("default", 60).is_shared
    (error,) = tasks.add.get_backend().check()
    assert error.id == "tasuki.E003"
    assert "TASKS['default'] keeps results in the cache 'default', which other processes do not see" in error.msg
    assert tasks.note.using(backend="tried", queue_name="tried").get_backend().check() == []
