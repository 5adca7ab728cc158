"""Messages of lists: which ones a question means, and when they are due."""
