"""``python -m tests.e2e.attacks`` writes the tables in docs/sandbox-attacks.md."""

from tests.e2e.attacks.runner import attempt
from tests.e2e.attacks.table import write

write(attempt)
