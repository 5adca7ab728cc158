"""TasukiBackend: tasks of ``django.tasks``, and of the package ``django-tasks``, on the queues of the project's App."""
