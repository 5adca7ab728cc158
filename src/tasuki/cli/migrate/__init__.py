"""``tasuki migrate``: rewrites a project for Celery or RQ by its syntax trees; it imports nothing of the project."""
