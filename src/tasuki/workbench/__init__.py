"""The workbench: what people do with dead letters, beside sending them back."""
