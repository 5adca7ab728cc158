"""Scripts in other threads and processes."""
