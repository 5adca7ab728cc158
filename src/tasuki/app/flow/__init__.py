"""Chains, groups, signals and requests, as applications write them."""
