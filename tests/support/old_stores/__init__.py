"""Stores at brokers as earlier versions made them, as text, and what writes and loads the text.

``python -m tests.support.old_stores.make DRIVER TASUKI`` records one: TASUKI is the command of that version.
"""
