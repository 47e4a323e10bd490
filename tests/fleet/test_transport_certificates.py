"""`edgeprof fleet certs`: one authority, a certificate per device, keys that others cannot read."""

import stat
from pathlib import Path

import pytest
from command import Command
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from edgeprof.errors import StorageError, UsageError
from edgeprof.fleet.certificates import make_certificates


def test_certificates_are_signed_by_one_authority(edgeprof: Command, tmp_path: Path) -> None:
    first = edgeprof("fleet", "certs", "pi5", "--out", "certs")
    assert (first.code, first.out.split()) == (0, ["certs/pi5", "certs/client"])
    folder = tmp_path / "certs"
    assert make_certificates(["nuc"], folder) == [folder / "nuc"]
    authority = x509.load_pem_x509_certificate((folder / "authority" / "ca.pem").read_bytes())
    for name in ("pi5", "client", "nuc"):
        certificate = x509.load_pem_x509_certificate((folder / name / "cert.pem").read_bytes())
        verifier = PolicyBuilder().store(Store([authority])).build_server_verifier(x509.DNSName(name))
        assert verifier.verify(certificate, []) == [certificate, authority]
        assert (folder / name / "ca.pem").read_bytes() == (folder / "authority" / "ca.pem").read_bytes()
    for key in folder.glob("*/key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_certificate_is_replaced_only_by_force(tmp_path: Path) -> None:
    make_certificates(["pi5"], tmp_path)
    before = (tmp_path / "pi5/cert.pem").read_bytes()
    with pytest.raises(UsageError, match=r"pi5 is there already. Add --force to replace it\."):
        make_certificates(["pi5"], tmp_path)
    assert (tmp_path / "pi5/cert.pem").read_bytes() == before
    make_certificates(["pi5"], tmp_path, force=True)
    assert (tmp_path / "pi5/cert.pem").read_bytes() != before


@pytest.mark.parametrize("name", ["../up", "authority", "-pi5", "local", "all"])
def test_a_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a device"):
        make_certificates([name], tmp_path / "certs")
    assert not (tmp_path / "certs").exists()


def test_a_name_that_cannot_be_one_is_refused_without_an_option_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^'my pi' cannot name a device\. Give it letters, digits"):
        make_certificates(["my pi"], tmp_path)


def test_an_authority_is_replaced_only_before_it_has_signed(tmp_path: Path) -> None:
    (tmp_path / "authority").mkdir()
    (tmp_path / "authority/key.pem").write_text("a key, without a certificate as its writer was killed")
    make_certificates(["pi5"], tmp_path)
    before = (tmp_path / "authority/ca.pem").read_bytes()
    (tmp_path / "authority/key.pem").unlink()
    with pytest.raises(StorageError, match=r"authority/key\.pem cannot be read: there is no such file"):
        make_certificates(["nuc"], tmp_path)
    assert (tmp_path / "authority/ca.pem").read_bytes() == before
