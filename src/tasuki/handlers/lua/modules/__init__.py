"""The modules that a Lua handler can require, one file each."""
