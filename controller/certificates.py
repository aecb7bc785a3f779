"""Certificates for OpenFlow over TLS: made by one command, read by the controller.

One authority, made for this and forgotten at once, signs two certificates: the controller's, good for servers only, and
one that all switches share, good for clients only. So a switch's key cannot pose as the controller, and nobody can sign
a third. To replace them, make new ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from controller.channel import AUTHORITY, CONTROLLER, SWITCH
from pricing.errors import WardropError

DAYS = 3650
"""How long certificates are good (ours)."""


def make(folder: Path, now: datetime | None = None) -> list[Path]:
    """Make the authority's certificate, and key and certificate of the controller and of the switches.

    Returns
    -------
    list of Path
        The files made; keys are for their owner's eyes only.

    Raises
    ------
    WardropError
        When a file is there already, or cannot be written: nothing is ever overwritten.
    """
    now = now or datetime.now(UTC)
    authority, name = ec.generate_private_key(ec.SECP256R1()), _name("Wardrop authority")
    own = _certificate(name, name, authority, authority, now, None)
    files = {folder / AUTHORITY: own.public_bytes(serialization.Encoding.PEM)}
    uses = {CONTROLLER: ExtendedKeyUsageOID.SERVER_AUTH, SWITCH: ExtendedKeyUsageOID.CLIENT_AUTH}
    for role, use in uses.items():
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(_name(f"Wardrop {role}"), name, key, authority, now, use)
        files[folder / f"{role}-certificate.pem"] = signed.public_bytes(serialization.Encoding.PEM)
        files[folder / f"{role}-key.pem"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [path.name for path in files if path.exists()]
        if there:
            raise WardropError(f"{folder}: {', '.join(there)} are there already; give another folder, or remove them")
        for path, text in files.items():
            path.touch(0o600 if path.stem.endswith("key") else 0o644)
            path.write_bytes(text)
    except OSError as error:
        raise WardropError(f"{error.filename}: {error.strerror}; a folder that can be written is accepted") from error
    return list(files)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime,
    use: ObjectIdentifier | None,
) -> x509.Certificate:
    """A certificate for one use, or the authority's own where none is given."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=use is None, path_length=0 if use is None else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if use is None:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    else:
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    return builder.add_extension(usage, critical=True).sign(signer, hashes.SHA256())
