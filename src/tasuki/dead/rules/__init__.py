"""The rules of batches; no I/O."""
