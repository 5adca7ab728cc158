"""One file a broker."""
