"""The pages of dead letters: groups, lists, downloads, the question before an act on many, and batches."""
