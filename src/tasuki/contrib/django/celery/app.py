"""``Celery``: the app of a project with ``@app.task`` and ``add_periodic_task``, its views and its workers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, NoReturn, overload

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from tasuki.contrib.django.celery.calls.signature import Signature
from tasuki.contrib.django.celery.names import OF_APP, OF_CONSTRUCTOR
from tasuki.contrib.django.celery.schedules import Periodic, declare_schedule
from tasuki.contrib.django.celery.settings import SETTINGS
from tasuki.contrib.django.celery.task import Task, shared_task, tasks
from tasuki.contrib.django.project import project_app

Packages = Iterable[str] | Callable[[], Iterable[str]] | None


_discovered: list[tuple[Packages, str | None]] = []
"""Packages whose tasks are imported when Django is ready."""

_waiting: list[tuple[Celery, Callable[..., object]]] = []
"""Receivers of ``on_after_configure`` and ``on_after_finalize``, to be called when Django is ready."""

_unnamed: Counter[str] = Counter()
"""How many schedules without a name each task has; in every process the same, as modules are read in one order."""


class Celery:
    """Celery's app in a Django project; its tasks and schedules are the project's, whatever its name is."""

    def __init__(self, main: str = "", **options: Any) -> None:
        """Make it. Raises TypeError: an option, which is a setting here."""
        for option in options:
            kept = f"write CELERY_{option.upper()} in Django's settings" if option.upper() in SETTINGS else ""
            hint = OF_CONSTRUCTOR.get(option) or kept or "remove it: it has no effect here"
            raise TypeError(f"Celery(…) has no option {option!r}; {hint}")
        self.main = main
        self.on_after_configure = self.on_after_finalize = _Moment(self)

    @overload
    def task(self, function: Callable[..., Any], /) -> Task: ...
    @overload
    def task(self, /, **options: Any) -> Callable[[Callable[..., Any]], Task]: ...
    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """See ``shared_task``."""
        return shared_task(**options) if function is None else shared_task(function)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """All tasks of this process by name."""
        return tasks

    def config_from_object(self, obj: Any, *, namespace: str = "", **options: Any) -> None:
        """Take Django's settings, whose names begin with ``CELERY_``: that is so anyway.

        Raises:
            TypeError: it is another object, or another prefix.
        """
        if obj != "django.conf:settings" or namespace != "CELERY":
            raise TypeError(
                f"config_from_object({obj!r}, namespace={namespace!r}): write the settings in Django's, with the "
                "prefix CELERY_, and config_from_object('django.conf:settings', namespace='CELERY')"
            )

    def autodiscover_tasks(
        self, packages: Packages = None, related_name: str | None = "tasks", **options: Any
    ) -> None:  # fmt: skip
        """Import ``tasks.py`` of packages when Django is ready; of all installed apps that happens anyway.

        Args:
            packages: their names, or a function that returns them; None: the installed apps.
            related_name: of the modules; None: the packages themselves.
            options: have nothing to change here.
        """
        _discovered.append((packages, related_name))
        if apps.ready:
            import_discovered()

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Signature | Task,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Run a task at each time of a schedule: ``crontab(…)``, seconds, or a timedelta; returns its name.

        Args:
            schedule: when.
            sig: the task, or a call of it.
            args: more arguments, before the arguments of the call.
            kwargs: more arguments by name.
            name: of the schedule; default the task's, with a number if it is taken.
            options: ``expires``, ``headers``.

        Raises:
            ImproperlyConfigured: the schedule is none.
            TypeError: ``sig`` is no call of one task, or an option has no counterpart.
        """
        app, call = project_app(), sig if isinstance(sig, Signature) else getattr(sig, "s", lambda: None)()
        if call is None:
            raise TypeError(
                f"add_periodic_task publishes one task, not a {type(sig).__name__}: write a task that publishes it"
            )
        if name is None:
            _unnamed[call.task.name] += 1
            number = _unnamed[call.task.name]
            name = call.task.name if number == 1 else f"{call.task.name}-{number}"
        values = Periodic(schedule, call.task, (*args, *call.args), {**call.kwargs, **(kwargs or {})}, options)
        declare_schedule(app, name, values)
        return name

    def __getattr__(self, name: str) -> NoReturn:
        if name in OF_APP:
            raise AttributeError(f"the app of the bridge has no {name!r}; {OF_APP[name]}")
        raise AttributeError(f"the app of the bridge has no {name!r}; docs/coming-from-paperless.md lists all names")


class _Moment:
    """A signal of the app, which comes when Django is ready and all tasks are known."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def connect(self, receiver: Callable[..., object], **options: Any) -> Callable[..., object]:
        """Call a function with the app as ``sender``; returns the function."""
        _waiting.append((self._app, receiver))
        if apps.ready:
            call_receivers()
        return receiver


def import_discovered() -> None:
    """Import the tasks of the packages of ``autodiscover_tasks``. Idempotent."""
    found, _discovered[:] = _discovered[:], []
    for packages, related_name in found:
        if packages is None:
            autodiscover_modules(related_name or "tasks")
            continue
        for package in packages() if callable(packages) else packages:
            module = f"{importlib.import_module(package).__name__}.{related_name}"
            if related_name is not None and importlib.util.find_spec(module) is not None:
                importlib.import_module(module)


def call_receivers() -> None:
    """Call the receivers of the apps' moments. Idempotent."""
    found, _waiting[:] = _waiting[:], []
    for app, receiver in found:
        receiver(sender=app)


_TASKS = f"{__package__}.task"


def import_views() -> None:
    """Import the URLs of the project, with all views, if it has shared tasks at all. Idempotent.

    A web server imports the views when it starts, and its requests publish the tasks that are declared there. A worker
    must know these tasks too. Celery's workers find them because they run Django's checks, which import the URLs.
    """
    urls = getattr(settings, "ROOT_URLCONF", None)
    if _TASKS in sys.modules and urls:
        import_module(urls)


def ping() -> dict[str, dict[str, str]]:
    """``{"host:pid": {"ok": "pong"}}`` for each worker process that has given a sign in the last 15 seconds.

    Raises:
        RuntimeError: there is none. DriverError: the store cannot be read.
    """
    found = project_app().sync.workers.list()
    if not found:
        raise RuntimeError("no worker is running; start one: manage.py tasuki")
    return {f"{each.host}:{each.pid}": {"ok": "pong"} for each in found}
