"""Connections to the server: opened, pooled, encrypted."""
