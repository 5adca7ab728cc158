"""The open file: connection, locks, disk space, forks."""
