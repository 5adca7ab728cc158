"""Tests keep their queues in memory."""

import os

os.environ["QUEUE_URL"] = "memory://"
