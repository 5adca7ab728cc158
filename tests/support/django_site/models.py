"""A model that tasks get as an argument; its table is made by the test."""

from __future__ import annotations

from django.db import models


class Tag(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        app_label = "django_site"
