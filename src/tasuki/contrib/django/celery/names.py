"""Names of Celery that have no counterpart in the bridge, each with the line to write."""

from __future__ import annotations

_RESULTS = (
    "results are in a queue of Tasuki: declare the task with queue('jobs', result='1h').task, and read "
    "'app.sync.jobs.get(id, queue='jobs').result()' of tasuki.contrib.django.app (docs/how-to/results.md)"
)
_CALL = "import the task and write task.s(…)"
_WORKER = "manage.py tasuki runs the workers and the schedules"
_INSPECT = "write ping(), 'manage.py tasuki workers', or tasuki.contrib.django.app.sync.jobs.cancel(id, queue='celery')"
_STATE = "write task_postrun, whose state is SUCCESS"
_LOGGING = "remove it: the workers keep Django's LOGGING"

_NO_GROUP = "write chord([task.s(…), …], other.s())"
_STEPS = "write chain(task.s(…), other.s())"

OF_CONSTRUCTOR = {
    "broker": "write TASUKI = {'URL': …} in Django's settings",
    "broker_url": "write TASUKI = {'URL': …} in Django's settings",
    "include": "write app.autodiscover_tasks(['shop.reports'], related_name='jobs')",
    "imports": "write app.autodiscover_tasks(['shop.reports'], related_name='jobs')",
    "backend": _RESULTS,
    "result_backend": _RESULTS,
    "task_cls": "give each task its base: @app.task(base=…)",
    "config_source": "write config_from_object('django.conf:settings', namespace='CELERY')",
}
"""Of the constructor of the app."""

OF_TASK = {
    "update_state": "declare the task with queue('jobs', result='1h').task, and take a parameter context: Context for "
    "context.progress(done, total) (docs/how-to/results.md)",
    "AsyncResult": _RESULTS,
    "backend": _RESULTS,
    "app": "import it from the module that makes it; the App of Tasuki is tasuki.contrib.django.app",
    "signature": "write task.s(…)",
    "subtask": "write task.s(…)",
    "signature_from_request": "write raise self.retry(…)",
    "replace": "publish the other task and return, or " + _STEPS,
    "add_to_chord": _NO_GROUP,
    "map": "write group(task.s(each) for each in items)",
    "starmap": "write group(task.s(*each) for each in items)",
    "chunks": "write group(task.s(part) for part in parts)",
    "send_event": "write logging.getLogger(__name__).info(…)",
    "rate_limit": "give the task its own queue: queue('mails', limit='10/m').task (docs/how-to/limits.md)",
}
"""Of a task."""

OF_REQUEST = {
    "task": "write self.name",
    "hostname": "write socket.gethostname()",
    "delivery_info": "the queue is self.queue",
    **dict.fromkeys(("root_id", "parent_id", "group", "group_index", "chord", "chain"), "see docs/how-to/traces.md"),
}
"""Of the request of a task."""

OF_CALL = {
    "link": _STEPS,
    "link_error": "write chord([task.s(…)], other.s()).on_error(warn.si(…)), or on_failure of the task",
    "on_error": "write chord([task.s(…)], other.s()).on_error(warn.si(…)), or on_failure of the task",
    "freeze": "write apply_async(task_id=…)",
    "type": "write signature.task",
    "options": "write set(countdown=…)",
}
"""Of a signature, a chain and a group."""

OF_RESULT = {
    "ready": "it has run: read state",
    "status": "read state",
    "task_id": "read id",
    "traceback": "read result, which is the error in the state FAILURE",
    "revoke": "it has run",
}
"""Of the result of an eager run."""

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
        "write @app.on.stop of tasuki.contrib.django.app",
    ),
    **dict.fromkeys(("setup_logging", "after_setup_logger", "after_setup_task_logger"), _LOGGING),
}
"""Of Celery's modules."""
