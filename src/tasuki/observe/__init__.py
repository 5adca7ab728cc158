"""What is seen: logs and metrics."""
