"""The Lua runtime and what Python does for it."""
