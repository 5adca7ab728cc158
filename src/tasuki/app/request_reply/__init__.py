"""Request and reply: publish, and wait for the result of the handler."""
