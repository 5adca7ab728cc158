"""TestApp: a twin of an app, on the memory driver, in virtual time."""
