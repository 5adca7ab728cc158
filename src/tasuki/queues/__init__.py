"""The publishing side: codec, batcher, queue, dead letter."""
