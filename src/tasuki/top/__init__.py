"""``tasuki top``: the queues of an installation in a terminal, and acts on them (extra ``tasuki[top]``)."""
