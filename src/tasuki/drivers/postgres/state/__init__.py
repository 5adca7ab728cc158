"""Stores in the driver's schema: verbs that each call one function, and one poll for the watches of a store."""
