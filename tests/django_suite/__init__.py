"""The tests of Django's own ``django.tasks``, from its source package, run against TasukiBackend.

``make django-tasks`` fetches that package and runs ``python -m tests.django_suite FOLDER``.
"""
