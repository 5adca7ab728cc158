"""Messages that follow others: chains and groups, as applications write them."""
