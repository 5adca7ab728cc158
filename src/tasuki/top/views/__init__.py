"""The views of ``tasuki top``, one file each."""
