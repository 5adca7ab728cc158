"""The topology: which entries give messages to which, as lines of a table and as a picture."""
