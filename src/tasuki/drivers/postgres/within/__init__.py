"""What the driver does in a transaction of the caller's."""
