"""Schedules of an app: how they are declared in code, and the service that fires them in a worker."""
