"""An authority of one's own and the certificates that it signs, made with openssl, as PEM files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from infra.kafka.errors import BrokerError

DAYS = 3650
_LIMIT_S = 60.0
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path, name: str = "ca") -> Path:
    """Return the certificate of a new authority, ``NAME.pem`` beside its key ``NAME.key``; one that is there stays.

    Raises
    ------
    BrokerError
        There is no openssl, or it failed.
    """
    certificate = folder / f"{name}.pem"
    if not certificate.exists():
        _openssl(
            folder, "req", "-x509", *_NEW_KEY, "-keyout", f"{name}.key", "-out", certificate.name,
            "-days", str(DAYS), "-subj", f"/CN=kwise-arena {name}", "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip
    return certificate


def make_certificate(folder: Path, name: str, authority: str = "ca") -> tuple[Path, Path]:
    """Return certificate ``NAME.pem`` and key ``NAME.key``, for this machine and with the common name `name`.

    Raises
    ------
    BrokerError
        There is no openssl, or it failed.
    """
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    if not certificate.exists():
        extensions = folder / f"{name}.extensions"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        request = folder / f"{name}.request"
        _openssl(folder, "req", *_NEW_KEY, "-keyout", key.name, "-out", request.name, "-subj", f"/CN={name}")
        _openssl(
            folder, "x509", "-req", "-in", request.name, "-out", certificate.name, "-days", str(DAYS),
            "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-extfile", extensions.name,
        )  # fmt: skip
        request.unlink()
        extensions.unlink()
    return certificate, key


def _openssl(folder: Path, *arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise BrokerError("Certificates are made with openssl, and there is none: on Debian, apt-get install openssl.")
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
        preexec_fn=lambda: os.umask(0o077),  # keys are for their owner alone
    )
    if done.returncode:
        raise BrokerError(f"openssl {arguments[0]} failed in {folder}: {done.stderr.strip()[-500:]}")
