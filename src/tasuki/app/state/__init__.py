"""The state of an app's queues: where it is, and what operators do with it."""
