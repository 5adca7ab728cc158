"""Dead letters: their causes, and groups of them."""
