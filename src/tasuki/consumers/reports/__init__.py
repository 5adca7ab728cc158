"""Reports: notify the log and hooks of each delivery."""
