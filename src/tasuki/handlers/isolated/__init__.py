"""Python functions in their own processes (``isolation: process``), so that their faults stay theirs."""

from tasuki.handlers.isolated.handler import IsolatedPythonHandler
from tasuki.handlers.isolated.target import PythonTarget

__all__ = ["IsolatedPythonHandler", "PythonTarget"]
