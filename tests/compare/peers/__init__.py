"""One module a system: it runs in that system's own environment, and imports of ours ``tests.compare.role`` alone."""
