"""Who may do what with the topics, as Kafka's access control lists, and the logins (SCRAM-SHA-512) of those users.

A program that collects votes needs to write them and nothing else: with its password, a thief can add votes, each
of which is judged, but can read nobody's and change no arena.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES
from pipeline.eventlog.kafka.client import ANSWER_SECONDS, Administrator
from pipeline.eventlog.kafka.settings import KafkaSettings

_READ, _WRITE, _ALL = AclOperation.READ, AclOperation.WRITE, AclOperation.ALL

ROLES: Final = {
    "voter": {VOTES: _WRITE},
    "job": {VOTES: _READ, CONTROL: _READ, MATCHUPS: _WRITE},
    "operator": {VOTES: _ALL, CONTROL: _ALL, MATCHUPS: _ALL},
}
"""Role -> topic -> what it may do there. Reading and writing both include looking a topic up."""

_SHOWS_PROGRESS: Final = {"job": _READ, "operator": _ALL}
"""Roles that may use our consumer group, in which the job notes how far it has come."""

_ITERATIONS = 8192  # of the hash that brokers keep of a password; Kafka's own tool takes 4096


@dataclass(frozen=True, slots=True)
class Grant:
    """`user` may do `operation` (READ, WRITE, ALL) on the `kind` (topic, group) called `name`."""

    user: str
    operation: str
    kind: str
    name: str


def grant_role(settings: KafkaSettings, role: str, user: str) -> list[Grant]:
    """Let `user` do what a role of `ROLES` does, and return it; granted before, it stays granted.

    Raises
    ------
    LogError
        Out of reach (`LogUnavailable`), not logged in, not allowed, or the brokers have no authorizer.
    """
    bindings = [_bind(ResourceType.TOPIC, settings.topic_name(topic), user, op) for topic, op in ROLES[role].items()]
    if (operation := _SHOWS_PROGRESS.get(role)) is not None:
        bindings.append(_bind(ResourceType.GROUP, settings.group, user, operation))
    Administrator(settings).change(None, "create_acls", bindings)
    return [_describe(binding) for binding in bindings]


def revoke_grants(settings: KafkaSettings, user: str) -> list[Grant]:
    """Take from `user` all that was granted on our topics and our consumer group; return what that was.

    Raises
    ------
    LogError
        As `grant_role`.
    """
    names = [(ResourceType.TOPIC, settings.topic_name(topic)) for topic in (VOTES, CONTROL, MATCHUPS)]
    filters = [
        AclBindingFilter(
            kind, name, ResourcePatternType.LITERAL, _principal(user), None, AclOperation.ANY, AclPermissionType.ANY
        )
        for kind, name in (*names, (ResourceType.GROUP, settings.group))
    ]
    administrator = Administrator(settings)

    def delete() -> list[Grant]:
        futures = administrator.client.delete_acls(filters, request_timeout=ANSWER_SECONDS).values()
        return [_describe(binding) for future in futures for binding in future.result()]

    return administrator.ask(None, delete)


def set_password(settings: KafkaSettings, user: str, password: str) -> None:
    """Make the login of `user`, or change its password. Raises `LogError` as `grant_role`."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
    login = UserScramCredentialUpsertion(user, info, password.encode())
    Administrator(settings).change(None, "alter_user_scram_credentials", [login])


def delete_login(settings: KafkaSettings, user: str) -> bool:
    """Delete the login of `user`; False if there is none. Connections that are open stay open.

    Raises
    ------
    LogError
        As `grant_role`.
    """
    login = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
    missing = KafkaError.RESOURCE_NOT_FOUND
    return Administrator(settings).change(None, "alter_user_scram_credentials", [login], already=missing)


def _bind(kind: ResourceType, name: str, user: str, operation: AclOperation) -> AclBinding:
    literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    return AclBinding(kind, name, literal, _principal(user), "*", operation, allow)


def _principal(user: str) -> str:
    return f"User:{user}"


def _describe(binding: AclBinding) -> Grant:
    user = binding.principal.removeprefix("User:")
    return Grant(user, binding.operation.name, binding.restype.name.lower(), binding.name)
