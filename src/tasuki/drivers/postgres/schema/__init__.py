"""The schema: made, completed, healed."""
