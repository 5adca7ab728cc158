"""What the suite of truth is made of: a system of real processes, what each face says of it, and the broker's own word."""
