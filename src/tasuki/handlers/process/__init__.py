"""Handlers in their own processes: frames, confinement, the child's side and the pool of children."""
