"""``config.aws`` and the SQS driver that refers to it: keys reach the driver, and nothing else."""

from __future__ import annotations

import pytest

from tasuki.clock import SystemClock
from tasuki.drivers.sqs.aws import AwsConfig
from tasuki.drivers.sqs.settings import SQSSettings
from tasuki.kinds.build import build_driver

SECRET = "wJalrXUtnFEMI-not-a-real-one"
AWS = (
    "  - {name: cloud, kind: config.aws, region: eu-central-1, access_key_id: AKIA, secret_access_key: '${env:KEY}'}\n"
)
DRIVER = "  - {name: sqs, kind: queue.driver.sqs, config: cloud"


def test_the_driver_gets_what_the_config_says(project):
    checked = project(f"{AWS}{DRIVER}, endpoint: 'http://127.0.0.1:1', use_fips: true}}\n", environ={"KEY": SECRET})
    settings = build_driver(checked, "app:sqs", SystemClock())._settings
    account = settings.config
    assert (account.region, account.access_key_id.get_secret_value()) == ("eu-central-1", "AKIA")
    assert account.secret_access_key.get_secret_value() == SECRET
    assert (account.session_token, account.profile, settings.use_fips) == (None, None, True)
    assert settings.endpoint == "http://127.0.0.1:1"
    for thing in (settings, checked.configs["app:cloud"], checked.configs["app:sqs"]):
        assert SECRET not in repr(thing)
        assert "AKIA" not in repr(thing)


def test_a_driver_without_a_config_asks_aws(project):
    checked = project("  - {name: sqs, kind: queue.driver.sqs}\n")
    config = checked.configs["app:sqs"]
    assert isinstance(config, SQSSettings)
    assert (config.message_retention_period, config.default_delay_seconds) == (345_600.0, 0.0)
    assert build_driver(checked, "app:sqs", SystemClock()).durability == "node"


def test_durability_is_known_of_amazon_only(project):
    text = "  - {name: sqs, kind: queue.driver.sqs, endpoint: '%s'}\n"
    levels = [
        build_driver(project(text % endpoint), "app:sqs", SystemClock()).durability
        for endpoint in ("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com", "http://localhost:4566")
    ]
    assert levels == ["node", "process"]


def test_bad_values(problems):
    text = "  - {name: cloud, kind: config.aws, access_key_id: AKIA}\n"
    assert problems(text) == [
        "3:37: app:cloud: access_key_id and secret_access_key belong together: give both, or neither"
    ]
    text = "  - {name: cloud, kind: config.aws, session_token: t}\n"
    assert problems(text) == ["3:37: app:cloud: session_token needs access_key_id and secret_access_key"]
    text = f"{DRIVER}, endpoint: 'localhost:4566', message_retention_period: 15d, default_delay_seconds: 901}}\n"
    assert problems(text) == [
        "3:41: app:sqs: driver 'app:sqs' refers to config 'app:cloud', which is not defined; declare it",
        "3:56: app:sqs: endpoint: expected an address, such as http://localhost:4566",
        "3:84: app:sqs: message_retention_period: SQS keeps messages for 1m to 14d",
        "3:115: app:sqs: default_delay_seconds must be at most 900, not the number 901",
    ]


@pytest.mark.parametrize("value", ["{region: eu-central-1}", "[cloud]", "5"])
def test_a_config_that_is_no_id_says_what_belongs_where(problems, value):
    (problem,) = problems(f"  - {{name: sqs, kind: queue.driver.sqs, config: {value}}}\n")
    assert problem == (
        "3:41: app:sqs: config: expected the id of a config.aws entry; its fields (region, access_key_id …) belong "
        "into that entry, the fields of the driver (endpoint …) beside config"
    )


def test_a_delay_of_all_messages_that_their_retention_would_not_outlive(problems):
    text = "  - {name: sqs, kind: queue.driver.sqs, message_retention_period: 1m, default_delay_seconds: 60}\n"
    (problem,) = problems(text)
    assert problem == "3:71: app:sqs: default_delay_seconds is not shorter than message_retention_period"


def test_a_key_that_is_no_text_is_not_shown(problems):
    text = f"  - {{name: cloud, kind: config.aws, access_key_id: a, secret_access_key: [{SECRET}]}}\n"
    (problem,) = problems(text)
    assert SECRET not in problem
    assert "expected a text" in problem


@pytest.mark.parametrize("field", ["access_key_id", "secret_access_key", "session_token"])
def test_keys_are_secrets(field):
    config = AwsConfig(access_key_id="a", secret_access_key="b", session_token="c")
    assert str(getattr(config, field)) == "**********"
