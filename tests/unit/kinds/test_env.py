import pytest

from tasuki.kinds.entries.env import EnvFileConfig, EnvVariableConfig
from tests.unit.kinds.conftest import Make, Problems


def test_variables_and_storages(project: Make) -> None:
    text = """\
  - {name: a, kind: env.variable, variable: A, default: 8080, storage: os, read_only: true}
  - {name: b, kind: env.variable, default: true}
  - {name: c, kind: env.variable, default: 007, storage: file}
  - {name: os, kind: env.storage.os}
  - {name: memory, kind: env.storage.memory, lifecycle: {auto_start: true}}
  - {name: file, kind: env.storage.file, file_path: .env}
  - {name: open, kind: env.storage.file, file_path: x, auto_create: true, file_mode: 0600, dir_mode: 0o700}
"""
    checked = project(text)
    variables, files = checked.of(EnvVariableConfig), checked.of(EnvFileConfig)
    assert [config.default for config in variables.values()] == ["8080", "true", "007"]
    assert (variables["app:a"].variable, variables["app:a"].storage, variables["app:a"].read_only) == (
        "A",
        "app:os",
        True,
    )
    assert (files["app:file"].file_mode, files["app:file"].dir_mode) == (0o600, 0o755)
    assert (files["app:open"].file_mode, files["app:open"].dir_mode) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("kind: env.variable, default: 1.10", "default must be text, not the number 1.1"),
        ("kind: env.storage.file", "the field 'file_path' is missing"),
        (
            "kind: env.storage.file, file_path: x, file_mode: 600",
            "file_mode: 600 is not a file mode; write it like 0600",
        ),
        (
            "kind: env.storage.file, file_path: x, dir_mode: rwx",
            "dir_mode: 'rwx' is not a file mode; write it like 0600",
        ),
        ("kind: env.variable, storage: x", "variable 'app:v' refers to storage 'app:x', which is not defined"),
        ("kind: env.storage.chain", "kind 'env.storage.chain' is not known; known are: env.storage.file"),
    ],
)
def test_bad_values(problems: Problems, fields: str, problem: str) -> None:
    [text] = problems(f"  - {{name: v, {fields}}}\n")
    assert text.partition("app:v: ")[2].startswith(problem)
