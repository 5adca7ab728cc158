"""Receiving: pull requests, held deliveries, and how they end."""
