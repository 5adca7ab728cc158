"""AMQP 0-9-1 on one event loop: frames, connections, channels, and messages as frames."""
