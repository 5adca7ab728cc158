"""``TestApp(app, real=True)``: the same tests against the drivers of the app itself, in real time."""
