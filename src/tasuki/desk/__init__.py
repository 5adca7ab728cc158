"""The desk: pages in a browser that show the queues of an installation, and act on them (extra ``tasuki[desk]``)."""
