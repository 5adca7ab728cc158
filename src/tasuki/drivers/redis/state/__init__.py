"""The stores of the driver: their keys and scripts, and the watches."""
