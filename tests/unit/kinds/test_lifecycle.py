import pytest

from tasuki.kinds.entries.lifecycle import DriverConfig, LifecycleConfig, RestartConfig
from tests.support.narrow import instance
from tests.unit.kinds.conftest import Make, Problems


def test_the_defaults() -> None:
    config = LifecycleConfig()
    assert not config.auto_start
    assert (config.start_timeout, config.stop_timeout, config.stable_threshold) == (10.0, 10.0, 5.0)
    assert (config.depends_on, config.requires, config.startup) == ([], [], "required")
    assert config.restart == RestartConfig(
        initial_delay=1.0, max_delay=90.0, backoff_factor=2.0, jitter=0.1, max_attempts=0
    )
    assert config.security is None


def test_all_fields(project: Make) -> None:
    text = """\
  - name: d
    kind: queue.driver.memory
    lifecycle:
      auto_start: true
      start_timeout: 1s
      stop_timeout: 0
      stable_threshold: 1m
      depends_on: [s]
      requires: ["app:s"]
      startup: optional
      restart: {initial_delay: 10ms, max_delay: 1s, backoff_factor: 3, jitter: 0, max_attempts: 7}
      security:
  - {name: s, kind: store.memory}
"""
    checked = project(text)
    config = instance(checked.configs["app:d"], DriverConfig).lifecycle
    assert (config.start_timeout, config.stop_timeout, config.stable_threshold) == (1.0, 0.0, 60.0)
    assert (config.depends_on, config.requires, config.startup) == (["app:s"], ["app:s"], "optional")
    assert config.restart.backoff().initial_delay == 0.01
    assert config.restart.max_attempts == 7
    assert checked.edges["app:d"] == ("app:s",)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            "security: {groups: [x]}",
            "lifecycle.security: only a consumer acts, and only what acts has an actor",
        ),
        ("auto_start: yes", "lifecycle.auto_start must be true or false, not the text 'yes'"),
        ("auto_strat: true", "unknown field 'lifecycle.auto_strat'; did you mean 'auto_start'?"),
        ("start_timeout: 0", "lifecycle.start_timeout must be more than 0, not the number 0"),
        ("depends_on: x", "lifecycle.depends_on must be a list, not the text 'x'"),
        ("depends_on: [x]", "driver 'app:d' refers to entry 'app:x', which is not defined"),
        ("requires: [other:x]", "driver 'app:d' refers to entry 'other:x', which is not defined"),
        ("startup: never", "lifecycle.startup must be 'required' or 'optional', not the text 'never'"),
        ("restart: {max_attempts: -1}", "lifecycle.restart.max_attempts must be at least 0, not the number -1"),
        ("restart: {max_delay: 0}", "initial_delay is longer than max_delay, which is 0s"),
        ("restart: {jiter: 0}", "unknown field 'lifecycle.restart.jiter'; did you mean 'jitter'?"),
        ("restart: {x: {y: 0}}", "unknown field 'lifecycle.restart.x'; known are: initial_delay, max_delay, "),
    ],
)
def test_bad_values(problems: Problems, fields: str, problem: str) -> None:
    [text] = problems(f"  - {{name: d, kind: queue.driver.memory, lifecycle: {{{fields}}}}}\n")
    assert text.partition("app:d: ")[2].startswith(problem)


def test_rules_of_retry_are_of_queues_and_consumers_and_agree(problems: Problems) -> None:
    text = (
        "  - {name: m, kind: queue.driver.memory, lifecycle: {restart: {never: [ValueError]}}}\n"
        "  - {name: q, kind: queue.queue, driver: m, retry: {never: [ValueError, OSError], on: [OSError]}}\n"
    )
    unknown, both = problems(text)
    assert "unknown field 'lifecycle.restart.never'" in unknown
    assert both == "4:83: app:q: OSError stands in never too; take it out of one of them"
