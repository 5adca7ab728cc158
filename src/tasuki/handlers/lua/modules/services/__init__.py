"""Modules that reach what the worker has: queues, stores, settings, rights."""
