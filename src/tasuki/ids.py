"""Ids of entries: ``namespace:name``."""

from __future__ import annotations


def resolve_id(reference: str, namespace: str) -> str:
    """The full id of a reference: a bare name is of the referring entry's own namespace."""
    return reference if ":" in reference else f"{namespace}:{reference}"
