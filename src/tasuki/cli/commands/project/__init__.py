"""Commands about a project; nothing is started."""
