"""Fuzz targets, and two ways of running them: a few seconds in the suite, a minute each by ``make fuzz``."""
