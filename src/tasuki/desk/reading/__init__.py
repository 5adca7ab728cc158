"""What the pages show, read from brokers and stores as plain values."""
