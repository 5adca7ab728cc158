"""Handlers in processes of their own: frames, confinement, the child's side and the pool of children."""
