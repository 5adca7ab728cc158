"""How letters are moved, and come back."""
