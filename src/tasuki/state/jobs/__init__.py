"""Jobs: the records of publishers, and the status of a message (docs/adr/0056)."""
