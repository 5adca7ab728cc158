"""``python -m tests.e2e.attacks`` writes the tables in tests/e2e/attacks/README.md."""

from tests.e2e.attacks.runner import attempt
from tests.e2e.attacks.table import write

write(attempt)
