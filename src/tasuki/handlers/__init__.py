"""Functions that handle messages: Python and Lua."""
