"""Connections to one server, behind Sentinels, or to a cluster."""
