"""Cases about queues: inspecting, counting, purging and removing."""
