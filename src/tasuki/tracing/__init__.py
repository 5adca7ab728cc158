"""Spans of messages with OpenTelemetry; `spans` alone imports it, when an app asks for traces."""
