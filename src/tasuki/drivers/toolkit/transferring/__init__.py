"""Transfers: messages leave a queue by their ids, and others are stored for them elsewhere."""
