"""The example of docs/writing-a-driver.md keeps the contract."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "directory-driver"))
from test_directory_driver import TestDirectory

__all__ = ["TestDirectory"]
