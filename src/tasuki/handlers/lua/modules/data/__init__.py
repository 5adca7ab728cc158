"""Modules that compute on plain values."""
