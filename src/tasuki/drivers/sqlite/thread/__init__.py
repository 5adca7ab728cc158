"""The writer's thread: requests of all loops become transactions."""
