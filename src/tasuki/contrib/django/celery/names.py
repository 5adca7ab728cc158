"""Names of Celery that have no counterpart in the bridge, each with the line to write."""

from __future__ import annotations

_RESULTS = (
    "results are in a queue of Tasuki: declare the task with queue('jobs', result='1h').task, and read "
    "'app.sync.result(id, queue='jobs')' of tasuki.contrib.django.app (docs/how-to/results.md)"
)
_CALL = "import the task and write task.s(…)"
_WORKER = "manage.py tasuki runs the workers and the schedules"
_INSPECT = "write ping(), 'manage.py tasuki workers', or tasuki.contrib.django.app.sync.cancel(id, queue='celery')"
_STATE = "write task_postrun, whose state is SUCCESS"
_LOGGING = "remove it: the workers keep Django's LOGGING"

OF_APP = {
    "conf": "write its values in Django's settings with the prefix CELERY_: CELERY_BEAT_SCHEDULE = {…}",
    "Task": "import it: from tasuki.contrib.django.celery import Task",
    "send_task": "import the task and write task.apply_async(args, kwargs)",
    "signature": _CALL,
    "subtask": _CALL,
    "register_task": "write a function with the class as its base: @shared_task(base=…)",
    "control": _INSPECT,
    "on_after_fork": "write worker_process_init of tasuki.contrib.django.celery",
    "AsyncResult": _RESULTS,
    "GroupResult": _RESULTS,
    "backend": _RESULTS,
    **dict.fromkeys(("Worker", "Beat", "worker_main", "start", "steps", "user_options"), _WORKER),
    "finalize": "remove it: tasks are complete when Django is ready",
    "set_default": "remove it: the project has one App, tasuki.contrib.django.app",
    "set_current": "remove it: the project has one App, tasuki.contrib.django.app",
    "config_from_envvar": "write config_from_object('django.conf:settings', namespace='CELERY')",
    "setup_security": "sign messages: docs/security.md",
    "log": _LOGGING,
    "events": "manage.py tasuki workers --events, or the desk (docs/how-to/desk.md)",
    **dict.fromkeys(
        ("connection", "connection_for_write", "amqp", "pool", "producer_pool"), "write TASUKI = {'URL': …}"
    ),
}
"""Of the app."""

OF_MODULE = {
    "current_app": "import the App of the project: from tasuki.contrib.django import app",
    "current_task": "write @shared_task(bind=True), whose first parameter is the task",
    "signature": _CALL,
    "subtask": _CALL,
    "AsyncResult": _RESULTS,
    "GroupResult": _RESULTS,
    "ResultSet": _RESULTS,
    "get_task_logger": "write logging.getLogger(__name__)",
    "Ignore": "return from the function",
    "Reject": "raise tasuki.Reject, which makes the message a dead letter",
    "TimeLimitExceeded": "catch SoftTimeLimitExceeded of a task with soft_time_limit",
    "periodic_task": "write app.add_periodic_task(…) of a Celery(), or CELERY_BEAT_SCHEDULE",
    "task": "write shared_task",
    "schedule": "write the seconds, or a timedelta",
    "solar": "there is no such schedule: give the task a crontab(…), and test for the sun in it",
    "starmap": "write a group of one call for each item",
    "chunks": "write a group of one call for each part",
    "xmap": "write a group of one call for each item",
    "task_success": _STATE,
    "task_received": "write task_prerun",
    "after_task_publish": "write before_task_publish",
    "task_revoked": "see docs/how-to/cancel.md",
    **dict.fromkeys(("worker_ready", "worker_init", "celeryd_init", "beat_init"), "write worker_process_init"),
    **dict.fromkeys(
        ("worker_shutdown", "worker_process_shutdown", "worker_shutting_down"),
        "write @app.on_stop of tasuki.contrib.django.app",
    ),
    **dict.fromkeys(("setup_logging", "after_setup_logger", "after_setup_task_logger"), _LOGGING),
}
"""Of Celery's modules."""
