"""Commands that run a project or its functions, or watch it."""
