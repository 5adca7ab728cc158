"""metrics: counters, gauges and histograms of scripts, kept by this process. See metrics.lua for the functions.

====================  =======================  ================================================
operation             arguments                returns
====================  =======================  ================================================
``metrics.count``     name, n, labels?         nothing; what does not fit is dropped (all four)
``metrics.set``       name, n, labels?
``metrics.add``       name, n, labels?
``metrics.observe``   name, n, labels?
====================  =======================  ================================================
"""

from __future__ import annotations

from collections.abc import Mapping

from tasuki.contracts.handler import Context
from tasuki.observe.custom import OF_HANDLERS as REGISTRY

NAME = "metrics"
_Labels = Mapping[str, str] | None


def count(context: Context, name: str, n: float, labels: _Labels = None) -> None:
    """Raise a counter."""
    REGISTRY.count(name, n, labels, context.function)


def put(context: Context, name: str, n: float, labels: _Labels = None) -> None:
    """Give a gauge a value."""
    REGISTRY.set(name, n, labels, context.function)


def add(context: Context, name: str, n: float, labels: _Labels = None) -> None:
    """Move a gauge."""
    REGISTRY.add(name, n, labels, context.function)


def observe(context: Context, name: str, n: float, labels: _Labels = None) -> None:
    """Count a value in a histogram."""
    REGISTRY.observe(name, n, labels, context.function)


OPERATIONS = {"metrics.count": count, "metrics.set": put, "metrics.add": add, "metrics.observe": observe}
