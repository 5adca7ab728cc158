import json
import re
from typing import Any

from tasuki.kinds.kind import kind_names
from tasuki.kinds.schema import project_schema


def branches() -> dict[str, Any]:
    return {rule["then"]["title"]: rule["then"] for rule in project_schema()["$defs"]["entry"]["allOf"]}


def test_it_is_a_json_document_of_the_2020_dialect() -> None:
    schema = json.loads(json.dumps(project_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["namespace", "entries"]


def test_every_kind_has_its_branch_chosen_by_kind() -> None:
    rules = project_schema()["$defs"]["entry"]["allOf"]
    assert [rule["then"]["title"] for rule in rules] == kind_names()
    for rule in rules:
        name = rule["then"]["title"]
        assert rule["if"]["properties"]["kind"] == {"const": name} == rule["then"]["properties"]["kind"]
        assert rule["then"]["additionalProperties"] is False


def test_every_reference_leads_to_a_definition_and_every_definition_is_used() -> None:
    schema = project_schema()
    referred = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
    assert referred == set(schema["$defs"])


def test_fields_have_descriptions_defaults_and_limits() -> None:
    consumer = branches()["queue.consumer"]
    assert branches()["queue.driver.amqp"]["properties"]["url"]["default"] == "amqp://guest:guest@localhost:5672/"
    assert "**" not in json.dumps(project_schema())
    assert consumer["required"] == ["name", "kind", "queue"]
    assert consumer["properties"]["prefetch"]["default"] == 10
    assert consumer["properties"]["concurrency"]["anyOf"][0]["minimum"] == 1
    for name, branch in branches().items():
        for field, schema in branch["properties"].items():
            assert field in {"kind"} or "description" in schema or "$ref" in schema, (name, field)


def test_durations_are_text_or_numbers() -> None:
    lease = branches()["queue.queue"]["properties"]["lease"]
    text, number, placeholder = lease["anyOf"]
    assert number == {"type": "number", "minimum": 0}
    for duration in ("500ms", "1h30m", "1.5s", "0"):
        assert re.search(text["pattern"], duration)
    for other in ("5", "1h 30", "-1s", ""):
        assert not re.search(text["pattern"], other)
    assert re.search(placeholder["pattern"], "${env:LEASE}")


def test_sizes_are_text_or_numbers() -> None:
    text = branches()["queue.queue"]["properties"]["max_message_size"]["anyOf"][0]
    for size in ("256KiB", "1MB", "65536", "10 b"):
        assert re.search(text["pattern"], size)
    assert not re.search(text["pattern"], "1TiB")


def test_what_this_version_refuses_is_not_offered() -> None:
    assert "security" not in project_schema()["$defs"]["LifecycleConfig"]["properties"]
    assert "security" in project_schema()["$defs"]["ConsumerLifecycleConfig"]["properties"]


def test_a_dead_letter_queue_may_be_its_id_alone() -> None:
    assert {"type": "string"} in branches()["queue.queue"]["properties"]["dead_letter"]["anyOf"]
