"""The App of a Django project, and the system checks that look at it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import tasuki.contrib.django as contrib
from tasuki import App
from tasuki.contrib.django import checks, project
from tasuki.contrib.django.config import Config
from tasuki.contrib.django.connections import closing_connections
from tasuki.contrib.django.project import make_app, project_app
from tasuki.contrib.django.tasks.backend import TasukiBackend
from tasuki.contrib.django.tasks.queues import declare_backends, declare_queues
from tasuki.contrib.django.transactions import DjangoSync


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user, with an App."""
    module = ModuleType("shop_jobs")
    vars(module)["app"] = App("memory://")
    monkeypatch.setitem(sys.modules, "shop_jobs", module)
    return module


def test_one_app_for_all(jobs: ModuleType) -> None:
    assert project_app() is project_app() is contrib.app
    assert contrib.TasukiBackend is TasukiBackend
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        contrib.nothing  # noqa: B018


def test_the_users_own_app_takes_part_in_transactions_too(jobs: ModuleType) -> None:
    app = make_app(Config(app="shop_jobs:app"))
    assert app is jobs.app
    assert isinstance(app.sync, DjangoSync)
    assert app._runtime.around is closing_connections
    with pytest.raises(ImproperlyConfigured, match=r"TASUKI\['APP'\]: .* did you mean shop_jobs:app"):
        make_app(Config(app="shop_jobs:ap"))


def test_relative_paths_start_at_base_dir(tmp_path: Path) -> None:
    with override_settings(BASE_DIR=tmp_path):
        assert make_app(Config())._runtime.root == tmp_path


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> App:
    """Another App in the place of the project's."""
    app = App("memory://")
    monkeypatch.setattr(project, "_app", app)
    monkeypatch.setattr(checks, "declare_backends", lambda: None)
    return app


def ids(found: list[Any]) -> list[str]:
    return [message.id for message in found]


def test_a_good_project_passes_the_checks() -> None:
    assert checks.check_project() == []


def test_the_time_zone_of_django_is_the_zone_of_cron_expressions(other: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(TIME_ZONE="Asia/Tokyo"):
        own = make_app(Config("memory://"))
        own.schedules.add("nightly", own.queue("jobs"), cron="30 2 * * *", body={})
        monkeypatch.setattr(project, "_app", own)
        assert checks.check_project() == []
        nightly: Any = own._runtime.load_entries().registry.entries["app:nightly"].data
        assert nightly["timezone"] == "Asia/Tokyo"
        # An App of its own, as of TASUKI["APP"], declares its schedules before Django knows it.
        other.schedules.add("nightly", other.queue("jobs"), cron="30 2 * * *", body={})
        other.schedules.add("named", "jobs", cron="30 2 * * *", timezone="UTC", body={})
        monkeypatch.setattr(project, "_app", other)
        (warning,) = checks.check_project()
        assert (warning.id, warning.msg) == (
            "tasuki.W002",
            "cron '30 2 * * *' is read in UTC, and TIME_ZONE is 'Asia/Tokyo'",
        )
        assert "tz='Asia/Tokyo'" in warning.hint
        assert warning.obj.endswith(": app:nightly")


def test_a_project_without_queues_is_no_mistake(other: App) -> None:
    assert checks.check_project() == []


def test_mistakes_are_errors_with_their_place(other: App) -> None:
    other.queue("mails", lase="5s")  # type: ignore[call-arg]
    (error,) = checks.check_project()
    assert (error.id, error.obj.startswith(f"{__file__}:")) == ("tasuki.E002", True)
    assert "unknown field 'lase'" in error.msg
    assert "lease" in error.hint


def test_a_function_that_does_not_exist_is_an_error(other: App) -> None:
    other.entry("send", "function.python", target="nowhere_at_all:send")
    (error,) = checks.check_project()
    assert error.id == "tasuki.E002"
    assert "there is no module 'nowhere_at_all'" in error.msg


def test_warnings_are_warnings(other: App) -> None:
    other.queue("mails", dead_letter=None)
    other.function("send")(lambda body: None)
    other.entry("worker", "queue.consumer", queue="mails", func="send")
    assert ids(checks.check_project()) == ["tasuki.W001"]


def test_a_wrong_setting_is_an_error_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_app", None)
    with override_settings(TASUKI={"ULR": "memory://"}):
        assert ids(checks.check_project()) == ["tasuki.E001"]
    monkeypatch.undo()
    backend = "tasuki.contrib.django.TasukiBackend"
    with override_settings(TASKS={"default": {"BACKEND": backend, "OPTIONS": {"retries": 2}}}):
        (error,) = checks.check_project()
    assert "TASKS['default']['OPTIONS'] has no option 'retries'" in error.msg
    assert settings.TASUKI == {"URL": "memory://"}


def test_a_worker_does_not_start_without_the_queues_of_wrong_options() -> None:
    backend = "tasuki.contrib.django.TasukiBackend"
    wrong = {"default": {"BACKEND": backend, "OPTIONS": {"retries": 2}}}
    with override_settings(TASKS=wrong), pytest.raises(ImproperlyConfigured, match="has no option 'retries'"):
        App.load("tasuki.contrib.django:app")
    assert App.load("tasuki.contrib.django:app") is project_app()


def test_backends_of_others_are_left_alone() -> None:
    others = {"a": {"BACKEND": "nowhere.Backend"}, "b": {"BACKEND": "logging.Handler"}, "c": {}}
    with override_settings(TASKS=others):
        declare_backends()


def test_two_backends_of_one_queue_need_the_same_options_for_it() -> None:
    def aliases(**options: object) -> dict[str, Any]:
        backend = "tasuki.contrib.django.TasukiBackend"
        first = {"BACKEND": backend, "QUEUES": ["shared"], "OPTIONS": {"max_attempts": 2}}
        second = {"BACKEND": backend, "QUEUES": ["shared"], "OPTIONS": {"max_attempts": 2, **options}}
        return {"first": first, "second": second}

    app = App("memory://")
    for alias, params in aliases(transactional=True).items():
        declare_queues(app, TasukiBackend(alias, params))
    params = aliases(max_attempts=3)["second"]
    with pytest.raises(ImproperlyConfigured, match=r"'first'.* and TASKS\['second'\] share .*'max_attempts'"):
        declare_queues(app, TasukiBackend("second", params))
