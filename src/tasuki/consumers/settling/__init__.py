"""Settling: verdicts, and how the broker and a requester learn of them."""
