"""A private authority, and a certificate for every device: who has none of them is not heard.

authority/  ca.pem key.pem            the key stays here
client/     ca.pem cert.pem key.pem   of the workstation: scheduler and commands
pi5/        ca.pem cert.pem key.pem   to be copied to the device
"""

import datetime
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.errors import MissingExtra, StorageError, UsageError, first_line
from edgeprof.fleet.inventory import ALL, LOCAL
from edgeprof.store import read_bytes, require_name, write_atomic

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY, CLIENT = "authority", "client"
AUTHORITY_CERTIFICATE, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
YEARS = 10
PRIVATE = 0o600


def make_certificates(names: Sequence[str], folder: Path, *, force: bool = False) -> list[Path]:
    """Make a certificate for each device, for the client if it has none, and before all the authority if there is none.

    Returns: the folder of each certificate that was made.

    Raises:
        MissingExtra: `cryptography` is not installed.
        UsageError: a certificate is there already, and not `force`; a name that cannot be one of a folder.
        StorageError: the disk refused.
    """
    if find_spec("cryptography") is None:
        raise MissingExtra("Making certificates", "cryptography", "fleet")
    for name in names:
        require_name(name, "a device", "it")
        if name in (AUTHORITY, LOCAL, ALL):  # those of the inventory cannot be a device's there
            raise UsageError(f"'{name}' cannot name a device.", "Choose another name.")
        if (folder / name).exists() and not force:
            raise UsageError(f"{folder / name} is there already.", "Add --force to replace it.")
    if not (folder / CLIENT / CERTIFICATE).exists():
        names = [*names, CLIENT]
    key, certificate = _authority(folder / AUTHORITY)
    return [_make(folder / name, name, key, certificate) for name in dict.fromkeys(names)]


def _authority(folder: Path) -> "tuple[EllipticCurvePrivateKey, x509.Certificate]":
    """The authority of a folder, made if there is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not (folder / AUTHORITY_CERTIFICATE).exists():  # written last; without its key, none replaces it
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named("edgeprof authority")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        unsigned = _unsigned(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        certificate = _signed(unsigned.add_extension(usage, critical=True), key)
        _write(folder, key, {AUTHORITY_CERTIFICATE: certificate})
    try:
        loaded = load_pem_private_key(read_bytes(folder / KEY), None)
        certificate = x509.load_pem_x509_certificate(read_bytes(folder / AUTHORITY_CERTIFICATE))
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    except (ValueError, TypeError, AssertionError) as problem:
        raise StorageError(
            f"The authority in {folder} is damaged: {first_line(problem)}.",
            "Restore it, or remove the folder and make all certificates anew.",
        ) from problem
    return loaded, certificate


def _make(folder: Path, name: str, authority: "EllipticCurvePrivateKey", issuer: "x509.Certificate") -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    unsigned = (
        _unsigned(_named(name), issuer.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(uses, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    _write(folder, key, {AUTHORITY_CERTIFICATE: issuer, CERTIFICATE: _signed(unsigned, authority)})
    return folder


def _named(name: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _unsigned(name: "x509.Name", issuer: "x509.Name", key: "EllipticCurvePrivateKey") -> "x509.CertificateBuilder":
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # boards without a clock of their own are late
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(unsigned: "x509.CertificateBuilder", key: "EllipticCurvePrivateKey") -> "x509.Certificate":
    from cryptography.hazmat.primitives import hashes

    return unsigned.sign(key, hashes.SHA256())


def _write(folder: Path, key: "EllipticCurvePrivateKey", certificates: "dict[str, x509.Certificate]") -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomic(folder / KEY, secret, mode=PRIVATE)
    for name, certificate in certificates.items():
        write_atomic(folder / name, certificate.public_bytes(Encoding.PEM))
