"""The same work on Tasuki and on other systems: ``make compare``. Figures, not tests."""
