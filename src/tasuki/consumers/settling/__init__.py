"""Settling: verdicts, and their way to the broker and to a requester."""
