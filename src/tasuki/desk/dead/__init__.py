"""Dead letters as the pages show them: read in bounded windows, for all viewers at once."""
