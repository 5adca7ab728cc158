"""Jobs at a consumer: cancels, results, progress, steps and transactions."""
