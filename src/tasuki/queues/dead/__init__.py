"""Dead letters: what they died of, and groups of them."""
