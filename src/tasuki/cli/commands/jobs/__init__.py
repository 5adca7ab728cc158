"""Commands about single messages and what becomes of them."""
