"""The rig: real brokers as private child processes on free loopback ports, one module a broker."""
