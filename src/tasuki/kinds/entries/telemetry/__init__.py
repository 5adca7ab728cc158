"""Kinds of entries for OpenTelemetry: metrics and traces."""
