"""Edit and retry: a dead letter is changed, checked as its handler will check it, and sent as a new message."""
