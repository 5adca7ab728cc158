"""Functions that treat messages: Python and Lua."""
