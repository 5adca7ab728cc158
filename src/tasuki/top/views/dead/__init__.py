"""Dead letters: their groups, the letters of one, and the batches that move them."""
