"""From start to drain: open drivers, run, reload, stop."""
