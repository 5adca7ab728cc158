"""Hooks: functions of the user's that hear of moments, beside the messages' way."""
