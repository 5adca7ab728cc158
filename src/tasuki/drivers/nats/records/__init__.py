"""Records at the server that JetStream does not keep for us."""
