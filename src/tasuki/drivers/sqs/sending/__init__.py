"""Sending messages in batches, and their form at SQS."""
