"""A guarded cluster: TLS everywhere, users with passwords (SCRAM-SHA-512), and nothing allowed that was not granted.

Nodes prove themselves to each other by certificate where they vote, and by password where they copy. Everything is
kept in one folder, so that a cluster that is started again has the same users and certificates.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Sequence
from pathlib import Path

from infra.kafka.certificates import make_authority, make_certificate
from infra.kafka.properties import CLIENTS, CONTROLLER, MECHANISM, BrokerSecurity

ADMIN = "admin"
BROKER = "broker"

_LOGIN_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
_AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


def make_security(folder: Path, users: Sequence[str] = ()) -> BrokerSecurity:
    """Return how a cluster of nodes on this machine is guarded, making in `folder` what is not there yet.

    ``ca.pem`` is what clients check the nodes by. ``NAME.toml`` holds the login of a user, in the form that
    ``KWISE_KAFKA_FILE`` wants; there is `ADMIN`, who may do everything, and one for each of `users`, who may do
    nothing until it is granted.

    Raises
    ------
    BrokerError
        openssl is missing or failed.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = make_authority(folder)
    store = _make_store(folder)
    passwords = {name: _make_login(folder / f"{name}.toml", name, ca) for name in (BROKER, ADMIN, *users)}
    clients, mechanism = f"listener.name.{CLIENTS.lower()}", MECHANISM.lower()
    return BrokerSecurity(
        clients="SASL_SSL",
        controllers="SSL",
        properties={
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(ca),
            f"listener.name.{CONTROLLER.lower()}.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            f"{clients}.{mechanism}.sasl.jaas.config": (
                f'{_LOGIN_MODULE} required username="{BROKER}" password="{passwords[BROKER]}";'
            ),
            "authorizer.class.name": _AUTHORIZER,
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{ADMIN};User:{BROKER};User:CN={BROKER}",
        },
        scram_users=passwords,
        ca=ca,
        admin=folder / f"{ADMIN}.toml",
    )


def make_mutual_security(folder: Path) -> BrokerSecurity:
    """Return how a cluster is guarded whose clients log in by certificate; everybody who has one may do everything.

    Certificates for clients are made with `make_certificate`. Raises `BrokerError` as `make_security` does.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = make_authority(folder)
    certificate, key = make_certificate(folder, BROKER)
    return BrokerSecurity(
        clients="SSL",
        controllers="SSL",
        properties={
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(_make_store(folder)),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(ca),
            "ssl.client.auth": "required",
        },
        ca=ca,
        certificate=certificate,
        key=key,
    )


def _make_store(folder: Path) -> Path:
    """Return the nodes' key and chain in one file, which is how Kafka reads PEM."""
    certificate, key = make_certificate(folder, BROKER)
    store = folder / "keystore.pem"
    store.touch(mode=0o600)
    store.write_text("".join(path.read_text("utf-8") for path in (key, certificate, folder / "ca.pem")), "utf-8")
    return store


def _make_login(path: Path, name: str, ca: Path) -> str:
    """Return the password of a user, from the file of its login or a new one."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(
            f'username = "{name}"\npassword = "{secrets.token_urlsafe(24)}"\nca = "{ca}"\ntls = true\n', "utf-8"
        )
    return str(tomllib.loads(path.read_text("utf-8"))["password"])
