"""Publishing: with the driver's connections, or inside the caller's transaction."""
