"""The connection to the server: requests, answers, and its liveness."""
