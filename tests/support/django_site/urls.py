"""The URLs of the site, which are imported by no ``tasks.py``."""

from __future__ import annotations

from tasuki.contrib.django.celery import shared_task

urlpatterns: list[object] = []


@shared_task
def of_a_view() -> None: ...
