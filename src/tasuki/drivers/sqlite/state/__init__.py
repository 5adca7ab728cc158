"""Stores in the file: tables that the writer's thread changes, and a thread that reads."""
