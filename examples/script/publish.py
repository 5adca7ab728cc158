"""From code without an event loop: a script, a cron job, a Django view."""

import sys

from tasuki import App

app = App()  # SQLite, in .tasuki below the current folder
numbers = app.queue("numbers", int)

for text in sys.argv[1:]:
    confirmed = app.sync.publish(numbers, int(text))
    print(f"{text} is message {confirmed.id}, and survives a loss of {confirmed.durability}")
print(f"{app.sync.info(numbers)['message_count']} messages wait")
