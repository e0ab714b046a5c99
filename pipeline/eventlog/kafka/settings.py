"""How every client of this project reaches Kafka: one frozen type, made from a URL and the environment.

``kafka://HOST:PORT[,HOST:PORT...][/[PREFIX]votes]`` names the brokers and the topics: what stands before ``votes``
is a prefix of all topics, so that several arenas' sites can share a cluster. Logins never stand in a URL, which ends
in logs and shell histories; they come from ``KWISE_KAFKA_...`` variables, or from the TOML file that
``KWISE_KAFKA_FILE`` names.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.contracts.log import VOTES, LogError

MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
VARIABLE_PREFIX = "KWISE_KAFKA_"
_FILE = "KWISE_KAFKA_FILE"
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")
_SWITCH = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Brokers, topics, and how to log in.

    Attributes
    ----------
    servers : tuple of str
        ``host:port`` of some brokers; the others are learned from them.
    prefix : str
        Stands before the name of every topic.
    tls : bool
        Encrypt, and check the broker's certificate and host name.
    ca : path or None
        PEM file of the authority that signed the broker's certificate; None: those that the system trusts.
    certificate, key : path or None
        PEM files of the client, where the broker asks for a certificate.
    username, password : str or None
        Login by SASL.
    mechanism : str
        One of `MECHANISMS`.
    group : str
        Consumer group whose offsets show other programs how far the job has read; positions live in the store.
    """

    servers: tuple[str, ...]
    prefix: str = ""
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: str = MECHANISMS[0]
    group: str = "kwise"

    @property
    def url(self) -> str:
        """The URL without any login, as it is shown to people."""
        return f"kafka://{','.join(self.servers)}/{self.prefix}{VOTES}"

    @property
    def security_protocol(self) -> str:
        """Kafka's name for what is used: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        return ("SASL_" if self.username is not None else "") + ("SSL" if self.tls else "PLAINTEXT")

    def topic_name(self, topic: str) -> str:
        """Return the broker's name of one of our topics."""
        return self.prefix + topic

    def confluent(self) -> dict[str, Any]:
        """Return the settings of a client of confluent-kafka."""
        options: dict[str, Any] = {
            "bootstrap.servers": ",".join(self.servers),
            "security.protocol": self.security_protocol,
            "topic.metadata.propagation.max.ms": 1000,  # an unknown topic is an error within a second
        }
        options |= _given(
            {
                "ssl.ca.location": self.ca,
                "ssl.certificate.location": self.certificate,
                "ssl.key.location": self.key,
            }
        )
        if self.username is not None:
            options |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        return options

    def kafka_python(self) -> dict[str, Any]:
        """Return the settings of a client of kafka-python."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": self.security_protocol,
        }
        options |= _given({"ssl_cafile": self.ca, "ssl_certfile": self.certificate, "ssl_keyfile": self.key})
        if self.username is not None:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options

    def describe(self) -> str:
        """Return one line for people: the URL and how it logs in, without secrets."""
        how = "TLS" if self.tls else "no encryption"
        who = f"{self.username} ({self.mechanism})" if self.username is not None else "no login"
        return f"{self.url}, {how}, {who}"


def parse_kafka_url(url: str, environment: Mapping[str, str] | None = None) -> KafkaSettings:
    """Return the settings that a URL and `environment` (default: the process's) name.

    Raises
    ------
    LogError
        The URL or a variable is wrong; says which and what to write.
    """
    servers, prefix = _split_url(url)
    given = _read_environment(os.environ if environment is None else environment)
    settings = KafkaSettings(servers, prefix, **given)
    if settings.username is not None and settings.password is None:
        raise LogError(f"{VARIABLE_PREFIX}USERNAME is set without {VARIABLE_PREFIX}PASSWORD: set both, or neither.")
    if settings.password is not None and settings.username is None:
        raise LogError(f"{VARIABLE_PREFIX}PASSWORD is set without {VARIABLE_PREFIX}USERNAME: set both, or neither.")
    if (settings.certificate is None) != (settings.key is None):
        raise LogError(f"{VARIABLE_PREFIX}CERTIFICATE and {VARIABLE_PREFIX}KEY belong together: set both, or neither.")
    return settings


def _split_url(url: str) -> tuple[tuple[str, ...], str]:
    scheme, _, rest = url.partition("://")
    hosts, _, path = rest.partition("/")
    usage = f"{_mask(url)}: write kafka://HOST:PORT[,HOST:PORT][/[PREFIX]{VOTES}]"
    if "@" in hosts:
        raise LogError(
            f"{usage}; a login does not belong in a URL: set {VARIABLE_PREFIX}USERNAME and {VARIABLE_PREFIX}PASSWORD."
        )
    servers = tuple(hosts.split(","))
    if scheme.lower() != "kafka" or not all(_SERVER.fullmatch(server) for server in servers):
        raise LogError(f"{usage}, e.g. kafka://localhost:9092/{VOTES}")
    path = path or VOTES
    if not path.endswith(VOTES) or not _PREFIX.fullmatch(path.removesuffix(VOTES)):
        raise LogError(f"{usage}: the topic's name ends in {VOTES}; what stands before it is the prefix of all topics.")
    return servers, path.removesuffix(VOTES)


def _mask(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that file and variables give; variables win."""
    raw: dict[str, Any] = {}
    if path := environment.get(_FILE):
        raw = _read_file(Path(path))
    names = {item.name for item in fields(KafkaSettings)} - {"servers", "prefix"}
    for variable, value in environment.items():
        if not variable.startswith(VARIABLE_PREFIX) or variable == _FILE or not value:
            continue
        raw[variable.removeprefix(VARIABLE_PREFIX).lower()] = value
    if unknown := sorted(set(raw) - names):
        listed = ", ".join(VARIABLE_PREFIX + name.upper() for name in sorted(names))
        raise LogError(f"{VARIABLE_PREFIX}{unknown[0].upper()} is not known: the settings of Kafka are {listed}.")
    parsed = {name: _parse(name, value) for name, value in raw.items()}
    if "tls" not in parsed:
        if parsed.get("username") is not None and "ca" not in parsed:
            raise LogError(
                f"{VARIABLE_PREFIX}USERNAME is set: say whether the connection is encrypted, {VARIABLE_PREFIX}TLS=1, "
                f"with {VARIABLE_PREFIX}CA=FILE for an authority of your own, or {VARIABLE_PREFIX}TLS=0."
            )
        parsed["tls"] = "ca" in parsed or "certificate" in parsed
    return parsed


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise LogError(f"{_FILE}: {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise LogError(f"{_FILE}: {path} is not TOML: {error}.") from error


def _parse(name: str, value: Any) -> Any:
    variable = VARIABLE_PREFIX + name.upper()
    if name == "tls":
        switch = _SWITCH.get(str(value).lower())
        if switch is None:
            raise LogError(f"{variable} is {value!r}: write 1 or 0.")
        return switch
    if name in {"ca", "certificate", "key"}:
        path = Path(str(value))
        if not path.is_file():
            raise LogError(f"{variable}: {path} is no file: name a PEM file.")
        return path
    if name == "mechanism" and value not in MECHANISMS:
        raise LogError(f"{variable} is {value!r}: write one of {', '.join(MECHANISMS)}.")
    return str(value)


def _given(options: Mapping[str, Path | None]) -> dict[str, str]:
    return {name: str(path) for name, path in options.items() if path is not None}
