"""Explain: why a message does not run now. The rule is pure; what it judges is looked up beside it."""
