"""Names of other libraries get an answer; all other missing names stay what they are."""

from __future__ import annotations

import copy
import re
from typing import Any, cast

import pytest

from tasuki import App
from tasuki.app.jobs import Job, SyncJob

SENDING = ["delay", "kiq", "send", "enqueue", "apply_async", "send_task"]


def handler(body: object) -> None: ...


@pytest.mark.parametrize("name", SENDING)
def test_sending_is_publishing(name: str) -> None:
    app = App("memory://")
    queue = app.queue("tasks")

    @queue.consumer
    def work(body: object) -> None: ...

    with pytest.raises(AttributeError, match=re.escape("write 'await queue.publish(body)'")):
        getattr(queue, name)({})
    with pytest.raises(AttributeError, match=re.escape("write 'await app.publish(queue, body)'")):
        getattr(app, name)("tasks", {})
    said = f"work.{name}: a handler stays a plain function; write 'await queue.publish(body)'"
    with pytest.raises(AttributeError, match=re.escape(said)):
        getattr(work, name)({}, countdown=3)


@pytest.mark.parametrize(
    "name", ["delay", "kiq", "kicker", "enqueue", "apply_async", "s", "defer", "send_with_options"]
)
def test_a_task_is_published_with_its_arguments(name: str) -> None:
    @App("memory://").queue("tasks").task
    def work(number: int) -> None: ...

    for owner in (work, work.with_options(delay=1)):
        with pytest.raises(
            AttributeError, match=re.escape("write 'await task.publish(…)' with the function's arguments")
        ):
            getattr(owner, name)(3)


@pytest.mark.parametrize(
    ("name", "part"), [("cancel", "jobs"), ("explain", "jobs"), ("redrive", "dead"), ("pause", "workers")]
)
def test_a_verb_of_a_part_is_found_at_the_app(name: str, part: str) -> None:
    app = App("memory://")
    with pytest.raises(AttributeError, match=re.escape(f"write 'app.{part}.{name}'")):
        getattr(app, name)
    assert callable(getattr(getattr(app, part), name))


@pytest.mark.parametrize("name", ["schedule", "status"])
def test_an_unknown_way_to_jobs_and_schedules_has_a_line_to_write(name: str) -> None:
    with pytest.raises(AttributeError, match="write '"):
        getattr(App("memory://"), name)


@pytest.mark.parametrize("kind", [Job, SyncJob])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("get", "job.result(timeout=…)' after send; its queue needs result='1h'"),
        ("wait_result", "write 'await job.result(timeout=…)'"),
        ("ready", "write 'await job.status()'"),
        ("revoke", "write 'await job.cancel()'"),
        ("task_id", "write 'job.id'"),
    ],
)
def test_a_job_is_asked_by_its_own_verbs(kind: type[Any], name: str, said: str) -> None:
    job = kind("1", "power")
    with pytest.raises(AttributeError, match=re.escape(said)):
        getattr(job, name)
    assert copy.copy(job) == job
    assert not hasattr(job, "nonsense")


@pytest.mark.parametrize("name", ["task", "shared_task", "actor"])
def test_a_task_belongs_to_a_queue(name: str) -> None:
    said = "a task belongs to a queue: 'queue = app.queue(\"jobs\")'; then write '@queue.task'"
    with pytest.raises(AttributeError, match=re.escape(said)):
        getattr(App("memory://"), name)


@pytest.mark.parametrize("name", ["consumer", "subscriber", "handler", "job"])
def test_decorators_of_an_app_are_those_of_its_queues(name: str) -> None:
    said = "a handler belongs to a queue: 'queue = app.queue(\"jobs\")'; then write '@queue.consumer()'"
    with pytest.raises(AttributeError, match=re.escape(said)):
        getattr(App("memory://"), name)


@pytest.mark.parametrize(
    ("name", "own"),
    [("on_startup", "on.start"), ("on_success", "on.done"), ("on_failure", "on.failed"), ("dependency", "provide")],
)
def test_hooks_and_providers_have_one_name_each(name: str, own: str) -> None:
    with pytest.raises(AttributeError, match=f"write '@app.{own}' above the function"):
        getattr(App("memory://"), name)


def test_other_guesses() -> None:
    app = App("memory://")
    with pytest.raises(AttributeError, match="'tasuki run'"):
        app.worker_main()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="a queue calls its consumers"):
        app.queue("tasks").pop()  # type: ignore[attr-defined]


def test_a_missing_name_is_missing() -> None:
    app = App("memory://")
    queue = app.queue("tasks")
    for owner, text in ((app, "'App' object has no attribute 'qeue'"), (queue, "'QueueHandle' object has no")):
        with pytest.raises(AttributeError, match=text) as caught:
            getattr(owner, "qeue")  # noqa: B009
        assert caught.value.name == "qeue"  # what Python's own "did you mean" reads
        assert not hasattr(owner, "qeue")
    assert copy.copy(queue).id == "app:tasks"


def test_a_function_keeps_its_own_names_and_other_callables_stay_as_they_are() -> None:
    app = App("memory://")

    def delay_itself() -> str:
        return "mine"

    handler.delay = delay_itself  # type: ignore[attr-defined]
    queue = app.queue("tasks")
    assert queue.consumer(handler) is handler
    assert handler.delay() == "mine"  # type: ignore[attr-defined]

    class Callable:
        def __call__(self, body: object) -> None: ...

    assert vars(queue.consumer(Callable())) == {}


def test_a_queue_is_no_decorator() -> None:
    with pytest.raises(TypeError, match=re.escape("<queue app:jobs> cannot be called, and is no decorator: write '@q")):

        @App("memory://").queue("jobs")  # type: ignore[operator]
        def work(body: object) -> None: ...


def test_an_app_opens_in_an_event_loop() -> None:
    with pytest.raises(TypeError, match=re.escape("write 'async with app:'")), App("memory://"):  # type: ignore[attr-defined]
        pass


@pytest.mark.anyio
async def test_options_of_other_libraries_are_refused_where_a_body_is_published() -> None:
    app = App("memory://")
    jobs = app.queue("jobs")
    async with app:
        with pytest.raises(TypeError, match=r"^publish\(…\) has no option 'countdown'; write delay$"):
            await jobs.publish(1, countdown=5)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="has no option 'dealy'; there are: headers, delay"):
            await app.publish(jobs, 1, dealy=5)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="takes from"):
            await cast("Any", jobs).publish(1, {}, 3)


def test_the_sync_face_needs_no_block() -> None:
    said = re.escape("write 'app.sync.publish(queue, body)', which opens the app")
    with pytest.raises(TypeError, match=said), App("memory://").sync:  # type: ignore[attr-defined]
        pass
