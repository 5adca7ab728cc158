"""paperless-ngx, a public Celery application, ported to Tasuki: its queue-related tests on both, and kill -9.

``make paperless`` fetches the application at a fixed tag and runs ``python -m tests.paperless FOLDER``.
"""
