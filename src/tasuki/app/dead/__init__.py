"""Dead letters of an open app: reading them, and choosing some."""
