"""``app.sync``: the verbs of an app for code without an event loop, and the loop that they run on."""
