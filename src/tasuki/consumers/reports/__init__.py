"""Reports: the log and hooks, told of each delivery beside its handling."""
