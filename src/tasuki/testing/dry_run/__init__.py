"""The process of a dry run: the app's own code, with a twin of each driver in the place of the brokers."""
