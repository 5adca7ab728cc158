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

from collections.abc import Callable, Mapping

from tasuki.contracts.handler import Context
from tasuki.observe.custom import OF_HANDLERS as REGISTRY

NAME = "metrics"


def _operation(verb: str) -> Callable[..., None]:
    def record(context: Context, name: str, n: float, labels: Mapping[str, str] | None = None) -> None:
        getattr(REGISTRY, verb)(name, n, labels, context.delivery.function)

    return record


OPERATIONS = {f"metrics.{verb}": _operation(verb) for verb in ("count", "set", "add", "observe")}
