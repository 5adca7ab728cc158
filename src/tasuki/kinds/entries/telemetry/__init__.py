"""Kinds of entries that say what is told to OpenTelemetry: metrics and traces."""
