"""``tasuki mcp``: what an installation holds, and acts on it, as tools of a language model (extra ``tasuki[mcp]``)."""
