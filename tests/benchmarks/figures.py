"""One round of one part, alone in its process: ``python -m tests.benchmarks.figures PART DRIVER``.

It writes a JSON line for each figure to the standard output; the parent reads them, and ends the process at its bound.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import SkipTest


class Figure(NamedTuple):
    """A measured value, and its unit."""

    name: str
    value: float
    unit: str


Part = Callable[[str], Iterator[Figure]]
"""Gets the name of a driver, or ``""``."""


def main() -> None:
    """Measure, and print each figure as soon as it is known; a missing broker is a line too."""
    name, driver = sys.argv[1:]
    # What the measured code prints is no figure.
    with contextlib.redirect_stdout(sys.stderr):
        part: Part = importlib.import_module(f"tests.benchmarks.{name}").measure
        try:
            for figure in part(driver):
                print(json.dumps(figure), file=sys.__stdout__, flush=True)
        except SkipTest as reason:
            print(json.dumps(str(reason)), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
