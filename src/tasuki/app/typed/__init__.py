"""What may be written in code, as types that mypy and pyright check: fields of entries, options of messages.

The fields of drivers are in ``tasuki.drivers.typed``.
"""
