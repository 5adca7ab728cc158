"""AMQP 0-9-1 on one event loop: frames, connections, channels, and messages as frames."""

import re

from pamqp import constants

# RabbitMQ takes any UTF-8 as the name of a queue (rabbitmq.com/docs/queues#names). The client holds it to the pattern
# of the specification, which knows ASCII letters alone.
constants.DOMAIN_REGEX["queue-name"] = re.compile(r"[^\x00-\x1f\x7f]*$")
