"""Workbench: what people do with dead letters, many at a time or one by one."""
