"""How often a process sends what each of its queues needs: however many there are, few requests a second for all."""

_SHARE = 0.06


def paced(least: float, queues: int) -> float:
    """Seconds between two requests of a queue: 17 a second for all of them, or fewer."""
    return max(least, queues * _SHARE)
