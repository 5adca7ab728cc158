"""What a test reads of a twin: messages, and what happened to them."""
