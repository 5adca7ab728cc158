"""The receiving side: window, fetcher, pool, executor, settler, keeper."""
