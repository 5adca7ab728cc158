"""``python -m tasuki``: the command line."""

import sys

if not sys.flags.safe_path and sys.path:
    # ``python -m`` puts the current folder first, where a queue.py or logging.py of a user would hide the standard
    # library's. At the end it is still found.
    sys.path.append(sys.path.pop(0))

from tasuki.cli import main

if __name__ == "__main__":
    sys.exit(main())
