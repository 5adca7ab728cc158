"""What workers tell: their last hour, those that have gone, what they run, and their flight recorders."""
