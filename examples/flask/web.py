"""A web application in Flask that publishes, and workers whose handlers use its extensions and configuration.

pip install 'tasuki[flask]' gunicorn
cd examples/flask
flask --app web run                                # or: gunicorn --preload --workers 2 web:web
flask --app web tasuki                             # the workers, in a second terminal
curl -d to=ada@example.com http://127.0.0.1:5000/mails
"""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, current_app, jsonify, request

from tasuki.contrib.flask import Tasuki

web = Flask(__name__)
web.config["TASUKI_URL"] = os.environ.get("QUEUE_URL", "sqlite://")  # .tasuki/queue.db beside this file
web.config["SENT"] = Path(__file__).with_name("sent.txt")
tasuki = Tasuki(web)
mails = tasuki.app.queue("mails", dead_letter="mails.dead")


@mails.task
def send(to: str, subject: str = "Welcome") -> None:
    """Runs in a worker, within an application context: current_app, g and extensions work as in a view."""
    with open(current_app.config["SENT"], "a") as sent:
        sent.write(f"{subject}, {to}\n")


@web.post("/mails")
def order() -> tuple[Response, int]:
    """Answers when the message is safe on disk, not when the mail is sent."""
    message = send.send(request.form["to"])
    return jsonify(id=message.id, survives=message.durability), 202


@web.get("/mails")
def status() -> Response:
    return jsonify(tasuki.app.sync.queue(mails).info())
