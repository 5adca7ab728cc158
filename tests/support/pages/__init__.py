"""Pages whose blocks are run as a reader runs them."""
