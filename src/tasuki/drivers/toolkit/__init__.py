"""The toolkit of the drivers: the mechanisms that each of them needs, built and tested once."""
