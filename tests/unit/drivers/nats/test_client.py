import subprocess
import sys

import pytest

from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.errors import DriverError
from tests.support.settings import parsed


def test_the_class_can_be_imported_without_its_client() -> None:
    code = """
import sys
sys.modules["nats"] = None
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.settings import NATSSettings
assert NATSDriver.capabilities.multi_process
try:
    NATSDriver("n", NATSSettings())
except ImportError:
    print("says so")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "says so"


@pytest.mark.parametrize("field", ["credentials_file", "nkey_seed_file"])
def test_keys_need_their_own_package(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ImportError):
        NATSDriver("n", parsed(NATSSettings, **{field: "user.creds"}))


def test_a_file_of_tls_that_is_not_there() -> None:
    with pytest.raises(DriverError, match="tls"):
        NATSDriver("n", parsed(NATSSettings, tls={"ca": "/nowhere/ca.pem"}))
