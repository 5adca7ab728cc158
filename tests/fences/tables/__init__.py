"""The mutants: each lease, fence and version check above the drivers, taken out."""

from __future__ import annotations

from tests.fences.tables.batches import BATCHES
from tests.fences.tables.claims import CLAIMS
from tests.fences.tables.deaths import DEATHS
from tests.fences.tables.deliveries import DELIVERIES
from tests.fences.tables.flow import FLOW
from tests.fences.tables.places import PLACES
from tests.fences.tables.schedules import SCHEDULES
from tests.fences.tables.state import STATE
from tests.fences.tables.windows import WINDOWS

MUTANTS = [*BATCHES, *CLAIMS, *DEATHS, *DELIVERIES, *FLOW, *PLACES, *SCHEDULES, *STATE, *WINDOWS]
