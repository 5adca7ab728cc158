import subprocess
import sys

import pytest

from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.errors import DriverError


def test_the_class_can_be_imported_without_its_client():
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
def test_keys_need_their_own_package(monkeypatch, field):
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ImportError):
        NATSDriver("n", NATSSettings(**{field: "user.creds"}))


def test_a_file_of_tls_that_is_not_there():
    with pytest.raises(DriverError, match="tls"):
        NATSDriver("n", NATSSettings(tls={"ca": "/nowhere/ca.pem"}))
