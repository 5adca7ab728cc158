"""The application: entries become services; the Python API; run, reload, drain."""

from tasuki.app.app import App

__all__ = ["App"]
