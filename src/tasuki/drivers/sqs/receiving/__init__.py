"""Receiving: long polls, open deliveries, and how they end."""
