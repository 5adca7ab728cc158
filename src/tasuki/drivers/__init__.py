"""The drivers: one folder per broker, and ``toolkit`` with the mechanisms that they share.

Drivers do not import each other. The client of a broker is imported only in its folder, when the driver is opened.
The classes here are entries of drivers for an App in code.
"""

from tasuki.drivers.entries import NATS, SQS, DriverEntry, Memory, PostgreSQL, RabbitMQ, Redis, SQLite

__all__ = ["NATS", "SQS", "DriverEntry", "Memory", "PostgreSQL", "RabbitMQ", "Redis", "SQLite"]
