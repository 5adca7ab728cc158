"""``python -m tests.e2e.attacks`` writes the table in docs/security.md."""

from tests.e2e.attacks.runner import attempt
from tests.e2e.attacks.table import write

write(attempt)
