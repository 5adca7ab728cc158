"""TasukiConfig: makes the App ready for every process of the project."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class TasukiConfig(AppConfig):
    """Imports ``tasks.py`` of all installed apps, and declares the queues and schedules of the settings."""

    name = "tasuki.contrib.django"
    label = "tasuki"
    verbose_name = "Tasuki"

    def ready(self) -> None:
        """See AppConfig. Mistakes in TASKS are left to the system checks, which show them all, and to the worker."""
        from django.core import checks
        from django.core.exceptions import ImproperlyConfigured

        from tasuki.contrib.django.celery.app import call_receivers, import_discovered
        from tasuki.contrib.django.celery.schedules import declare_schedules
        from tasuki.contrib.django.checks import check_project
        from tasuki.contrib.django.tasks.queues import declare_backends

        checks.register(check_project, "tasuki")
        autodiscover_modules("tasks")
        import_discovered()
        call_receivers()
        try:
            declare_backends()
            declare_schedules()
        except ImproperlyConfigured:
            return
