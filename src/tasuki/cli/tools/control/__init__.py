"""What the commands of control share."""
