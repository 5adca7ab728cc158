"""TLS of a driver: certificates and keys from files and as text; text leaves no file behind."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

from tasuki.drivers.toolkit.address import tls_context
from tasuki.fields.types import TlsConfig, as_file, has_block, is_pem
from tests.support.settings import parsed


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate ``c.pem``, which signs itself, and its key ``k.pem``."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=client"]
    subprocess.run([*command, *files], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("is_text", [False, True])
def test_files_and_text_make_the_same_context(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_text: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cert, key = ((pair / name).read_text() if is_text else str(pair / name) for name in ("c.pem", "k.pem"))
    context = tls_context(parsed(TlsConfig, cert=cert, key=key, ca=cert))
    assert context is not None
    (trusted,) = context.get_ca_certs()
    assert trusted["subject"] == ((("commonName", "client"),),)
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_no_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ssl.SSLError):
        tls_context(TlsConfig(ca="-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_text_is_for_its_owner_alone() -> None:
    with as_file("# für uns\n-----BEGIN PRIVATE KEY-----") as path:
        assert path is not None
        assert Path(path).stat().st_mode & 0o777 == 0o600
    assert not Path(path).exists()
    for given in ("keys/k.pem", None):
        with as_file(given) as path:
            assert path == given


def test_what_is_text() -> None:
    assert is_pem("-----BEGIN EC PRIVATE KEY-----")
    assert not is_pem("BEGIN.pem")
    assert has_block("-----BEGIN EC PRIVATE KEY-----", "PRIVATE KEY")
    assert not has_block("-----BEGIN PRIVATE KEY-----", "CERTIFICATE")
