"""Parts of the suite of truth: a system of real processes, the numbers on each face, and the broker's own word."""
