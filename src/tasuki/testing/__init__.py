"""Shipped test tools: the driver conformance suite, clocks, a pytest plugin."""
