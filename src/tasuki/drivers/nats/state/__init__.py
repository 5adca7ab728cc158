"""The stores of the driver: a stream for each, with the last message of each subject."""
