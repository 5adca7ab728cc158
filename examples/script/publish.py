"""From code without an event loop: a script, a cron job, a Django view."""

import sys

from tasuki import App

app = App()  # SQLite, in .tasuki beside the nearest pyproject.toml above this file, else beside the file
numbers = app.queue("numbers", int)

for text in sys.argv[1:]:
    confirmed = app.sync.publish(numbers, int(text))
    print(f"{text} is message {confirmed.id}, and survives a loss of {confirmed.durability}")
print(f"{app.sync.queue(numbers).info()['message_count']} messages wait")
