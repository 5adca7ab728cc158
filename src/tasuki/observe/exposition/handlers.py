"""The metrics of handlers as families: names and labels that Prometheus accepts, and one type for each name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from tasuki.observe.custom import Sample
from tasuki.observe.exposition.series import PREFIX, RESERVED, SERIES
from tasuki.observe.metrics import Histogram

MAX_NAMES = 500
"""Names of handlers' metrics that are exported; the series of further ones are counted as dropped."""
MAX_SERIES = 1000
"""Series of one name."""

_NO_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Names:
    """The names of one exposition. Prometheus refuses all of it if two metrics use one name, as ``x_count`` may do."""

    def __init__(self) -> None:
        self._used = {name for series in SERIES for name in _names_in(series.name, series.type)}

    def take(self, name: str, kind: str) -> bool:
        """Take the names that a metric is written with; False: another metric has one of them."""
        wanted = _names_in(name, kind)
        if name.startswith(PREFIX) or not self._used.isdisjoint(wanted):
            return False
        self._used |= wanted
        return True


def _names_in(name: str, kind: str) -> set[str]:
    """In either format: OpenMetrics names the family of a counter without ``_total``, and has ``_created``."""
    if kind == "gauge":
        return {name}
    plain = name.removesuffix("_total") if kind == "counter" else name
    ends = ("_total", "_created") if kind == "counter" else ("_bucket", "_count", "_sum", "_created")
    return {plain, *(plain + end for end in ends)}


def families(samples: Iterable[Sample]) -> tuple[dict[str, Any], int]:
    """The metrics by name, and how many series could not be exported.

    Functions that count under one name are counted together: counters, histograms and gauges are added. Not exported:
    a name that begins with ``tasuki_``, a name's second type, a name that another metric is written with (``x_count``
    beside the histogram ``x``), and more series than the bounds allow.
    """
    found: dict[str, Any] = {}
    names = Names()
    dropped = 0
    for sample in samples:
        name = name_of(sample.name, sample.type)
        family = found.get(name)
        if family is None:
            if len(found) >= MAX_NAMES or not names.take(name, sample.type):
                dropped += 1
                continue
            family = found[name] = {"type": sample.type, "series": {}}
            if isinstance(sample.value, Histogram):
                family["bounds"] = list(sample.value.bounds)
        if family["type"] != sample.type:
            dropped += 1
            continue
        series, labels = family["series"], labels_of(tuple(sample.labels.items()))
        if labels not in series and len(series) >= MAX_SERIES:
            dropped += 1
        elif isinstance(sample.value, Histogram):
            known = series.setdefault(labels, {"counts": [0] * len(sample.value.counts), "sum": 0.0})
            known["counts"] = [a + b for a, b in zip(known["counts"], sample.value.counts, strict=True)]
            known["sum"] += sample.value.sum
        else:
            series[labels] = series.get(labels, 0.0) + sample.value
    return found, dropped


@lru_cache(4096)
def name_of(name: str, kind: str) -> str:
    """The name that is exported: ``orders.new`` becomes ``orders_new``, and a counter ends with ``_total``."""
    text = _NO_NAME.sub("_", name) or "_"
    text = f"_{text}" if text[0].isdigit() else text
    is_whole = text.endswith("_total") and text != "_total"
    return f"{text}_total" if kind == "counter" and not is_whole else text


@lru_cache(65_536)
def labels_of(labels: tuple[tuple[str, str], ...]) -> str:
    """The labels as Prometheus writes them; a name that is reserved begins with ``exported_``.

    Where two names become one, as ``a.b`` and ``a_b`` do, the later ends with ``_``.
    """
    written: dict[str, str] = {}
    for name, value in labels:
        label = _label(name)
        while label in written:
            label += "_"
        written[label] = escaped(value)
    return ",".join([f'{name}="{value}"' for name, value in written.items()])


def _label(name: str) -> str:
    text = _NO_LABEL.sub("_", name) or "_"
    if text[0].isdigit():
        text = f"_{text}"
    return f"exported_{text}" if text in RESERVED or text.startswith("__") else text


def escaped(value: str) -> str:
    """The value of a label, as it stands between quotation marks."""
    text = value.translate(_ESCAPES)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
