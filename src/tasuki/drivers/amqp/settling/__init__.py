"""Settling: how deliveries end, and what the broker must record of them."""
