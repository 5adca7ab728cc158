"""Tasuki inside of other frameworks, one package or module each; it is imported only where that framework is."""
