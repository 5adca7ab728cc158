"""Parts of the suite of truth: a system of real processes, what each face says of it, and the broker's own word."""
