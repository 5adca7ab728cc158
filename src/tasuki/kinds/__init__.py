"""Entry kind to checked config to service."""
