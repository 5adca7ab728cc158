"""Metrics for others: snapshots of processes as plain data, their sum, and the text that Prometheus reads."""
