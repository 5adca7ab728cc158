"""One file a command; each holds a click command called ``command``."""
