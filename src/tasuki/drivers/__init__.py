"""The drivers: one folder per broker, and ``toolkit`` with the mechanisms that they share.

Drivers do not import each other. The client of a broker is imported only in its folder, when the driver is opened.
"""
