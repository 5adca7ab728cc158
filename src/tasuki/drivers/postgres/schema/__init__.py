"""The schema: made, brought up to date, healed."""
