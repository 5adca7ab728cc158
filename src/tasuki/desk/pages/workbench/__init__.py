"""Pages about one message: change it, try it, copy it."""
