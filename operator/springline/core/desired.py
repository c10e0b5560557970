"""From declarations to what one session is to do. Pure: documents in, a `SessionSpec` out.

References between documents are resolved here; Secrets and ConfigMaps are not read here, only
named, because a session reads them anew before every attempt.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from springline import errors, protocols
from springline.api import v1alpha1
from springline.api.meta import ApiModel, Identity
from springline.core import ports
from springline.core.backoff import Retry
from springline.core.limits import Limits
from springline.core.protocol_values import Parameters, ProbeTarget
from springline.core.state import Failure
from springline.core.values import Endpoint, SessionKey
from springline.reasons import Reason

__all__ = [
    "TOKEN_FILE",
    "ProbeSettings",
    "RotationSettings",
    "SessionSpec",
    "Target",
    "allowed_namespaces",
    "broker_of",
    "read_by_credentials",
    "references",
    "session_spec",
]


NO_LIMITS: Final = Limits()

TOKEN_FILE: Final = "TokenFile"
"""In place of a kind, for what is no object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How often to publish, where to, and how many seconds to wait for the confirm."""

    interval: float
    timeout: float
    target: ProbeTarget
    """The protocol's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationSettings:
    """How a changed credential gets to the open session."""

    verify: bool = True
    """Whether it is tried on a connection of its own first."""
    when_limited: Literal["Wait", "UpdateUnverified", "CloseFirst"] = "Wait"
    """What is done where the broker allows no connection more for that."""
    renew_at: float = 0.8
    """Share of a credential's lifetime after which it is renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Everything an open connection depends on: if it changes, the connection no longer fits."""

    protocol: str
    endpoints: tuple[Endpoint, ...]
    """As declared; empty where they are found by `endpoints_from`."""
    endpoints_from: v1alpha1.EndpointsFrom | None
    default_port: int
    """Of an endpoint that is found without one."""
    tls: v1alpha1.TLS
    parameters: Parameters
    """The protocol's own."""

    @property
    def is_told_where(self) -> bool:
        """Whether an object that is read says which endpoint to use, and may come to say another.

        DNS and Services answer something else all the time, and that is no reason to move.
        """
        return self.endpoints_from is not None and self.endpoints_from.secret_ref is not None

    def fits(self, other: "Target", *, connected_to: Endpoint) -> bool:
        """Whether a connection opened for this target serves `other` as well.

        More or fewer endpoints do not matter as long as the one in use is still declared. Where
        they are found by `endpoints_from`, what is found changes all the time, and only matters to
        the next attempt.
        """
        if self == other:
            return True
        if self.endpoints_from != other.endpoints_from:
            return False
        if self.endpoints_from is None and connected_to not in other.endpoints:
            return False
        mine = (self.protocol, self.tls, self.parameters)
        return mine == (other.protocol, other.tls, other.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """What one session is to do, resolved."""

    key: SessionKey
    generation: int
    broker: Identity
    target: Target
    credentials: v1alpha1.Credentials
    connect_timeout: float
    retry: Retry
    concurrent: int
    probe: ProbeSettings | None
    rotation: RotationSettings = RotationSettings()
    binding: str | None = None
    """Name of the Secret that applications get; None if there is to be none."""
    suspend: bool
    stay_closed: bool

    def uses_other(self, other: "SessionSpec") -> bool:
        """Whether an open session may have to use something else for `other`."""
        mine = (self.target, self.credentials, self.rotation)
        return mine != (other.target, other.credentials, other.rotation)

    def tries_otherwise(self, other: "SessionSpec") -> bool:
        """Whether what is to be used is tried in another way for `other`."""
        mine = (self.connect_timeout, self.retry, self.concurrent)
        return mine != (other.connect_timeout, other.retry, other.concurrent)

    def same_but_generation(self, other: "SessionSpec") -> bool:
        """Whether both say the same, in whatever generation of the declaration."""
        return dataclasses.replace(self, generation=other.generation) == other


def broker_of(document: v1alpha1.BrokerConnection) -> Identity:
    """Return which broker a connection is declared for; one with a broker in place is its own."""
    reference = document.spec.broker_ref
    if reference is None:
        return document.identity
    namespace = "" if reference.kind == "ClusterBroker" else document.metadata.namespace
    return Identity(reference.kind, namespace, reference.name)


def session_spec(
    document: v1alpha1.BrokerConnection,
    *,
    generation: int,
    adapters: Mapping[str, ports.Adapter],
    find_broker: Callable[[Identity], v1alpha1.BrokerSpec | None],
    namespace_labels: Mapping[str, str],
    unserved: Collection[str] = (),
    limits: Limits = NO_LIMITS,
) -> SessionSpec | Failure:
    """Return what the session for `document` is to do, or why there can be none.

    `namespace_labels` are those of the namespace that the document is in, `unserved` the kinds of
    brokers that nobody looks after here. What is declared beyond `limits` counts as these.
    """
    broker_key = broker_of(document)
    broker = document.spec.broker or find_broker(broker_key)
    if broker is None:
        message = f"spec.brokerRef: there is no {broker_key.kind} named {_quoted(broker_key)}"
        if broker_key.kind in unserved:
            message = f"spec.brokerRef: this Springline does not look after {broker_key.kind}s"
        return Failure(reason=Reason.BROKER_NOT_FOUND, message=message)
    allowed = allowed_namespaces(broker)
    if allowed is not None and not allowed.allows(namespace_labels):
        return Failure(
            reason=Reason.NAMESPACE_NOT_ALLOWED,
            message=(
                f"spec.brokerRef: {broker_key.kind} {_quoted(broker_key)} is not for namespace "
                f'"{document.namespace}", whose labels its allowedNamespaces.selector does not '
                "select; label the namespace, or have the selector changed"
            ),
        )
    if document.spec.credentials.external is not None and not (
        broker.tls.enabled and broker.tls.client_certificate_ref is not None
    ):
        return Failure(
            reason=Reason.INVALID_SPEC,
            message=(
                "spec.credentials.external logs in with a TLS client certificate, and "
                f"{broker_key.kind} {_quoted(broker_key)} declares none; set tls.enabled and "
                "tls.clientCertificateRef there"
            ),
            elsewhere=document.spec.broker is None,
        )
    spec = document.spec
    foreign = _foreign(spec, broker, at="spec.") or _foreign(broker, broker)
    if foreign:
        return Failure(
            reason=Reason.INVALID_SPEC, message=foreign, elsewhere=document.spec.broker is None
        )
    adapter = adapters[broker.protocol]
    key = SessionKey(document.metadata.namespace, document.metadata.name)
    try:
        target = _target(document, broker, adapter, key=key)
    except errors.TerminalError as error:
        return Failure(
            reason=error.reason, message=error.message, elsewhere=document.spec.broker is None
        )
    return SessionSpec(
        key=key,
        generation=generation,
        broker=broker_key,
        target=target,
        credentials=spec.credentials,
        connect_timeout=broker.connect_timeout.total_seconds(),
        retry=Retry(
            delay=max(broker.retry.delay.total_seconds(), limits.least_retry_delay),
            max_delay=max(broker.retry.max_delay.total_seconds(), limits.least_retry_delay),
            jitter=broker.retry.jitter,
        ),
        concurrent=broker.connect_limit.concurrent,
        probe=_probe(spec.probe, adapter),
        rotation=RotationSettings(
            verify=spec.rotation.verify == "Handshake",
            when_limited=spec.rotation.when_limited,
            renew_at=spec.rotation.share,
        ),
        binding=spec.binding.secret_name if spec.binding is not None else None,
        suspend=spec.suspend,
        stay_closed=spec.when_closed == "StayClosed",
    )


def allowed_namespaces(broker: v1alpha1.BrokerSpec) -> v1alpha1.AllowedNamespaces | None:
    """Return which namespaces a broker is for, None where their labels do not matter."""
    if not isinstance(broker, v1alpha1.ClusterBrokerSpec):
        return None  # a Broker is for its own namespace, whatever that is labelled with
    allowed = broker.allowed_namespaces
    return allowed if allowed.from_ == "Selector" else None


def _foreign(declared: ApiModel, broker: v1alpha1.BrokerSpec, *, at: str = "") -> str:
    """Say what is declared for another protocol than the broker's; empty if nothing is.

    What only one protocol has, is in a field of the name that the protocol has in the table.
    """
    known = type(declared).model_fields
    for name in protocols.PROTOCOLS:
        if name == broker.protocol or name not in known:
            continue
        if getattr(declared, name) != _default(type(declared), name):
            return (
                f"{at}{name} has no meaning with protocol {broker.protocol}, only with protocol "
                f"{name}; leave it out"
            )
    return ""


@functools.cache  # the models copy it each time, and there are as many as they have fields
def _default(model: type[ApiModel], name: str) -> object:
    return model.model_fields[name].get_default(call_default_factory=True)


def _quoted(broker: Identity) -> str:
    where = f' in namespace "{broker.namespace}"' if broker.namespace else ""
    return f'"{broker.name}"{where}'


def _target(
    document: v1alpha1.BrokerConnection,
    broker: v1alpha1.BrokerSpec,
    adapter: ports.Adapter,
    *,
    key: SessionKey,
) -> Target:
    spec = document.spec
    return Target(
        protocol=broker.protocol,
        endpoints=tuple(Endpoint(host, port) for host, port in broker.addresses),
        endpoints_from=broker.endpoints_from,
        default_port=broker.default_port,
        tls=broker.tls,
        parameters=adapter.parameters(spec, broker, name=f"springline/{key}"),
    )


def _probe(probe: v1alpha1.Probe, adapter: ports.Adapter) -> ProbeSettings | None:
    if probe.mode == "None":
        return None
    return ProbeSettings(
        interval=probe.interval.total_seconds(),
        timeout=probe.timeout.total_seconds(),
        target=adapter.probe_target(probe),
    )


def references(spec: SessionSpec) -> frozenset[Identity]:
    """Return the Secrets, ConfigMaps and files of tokens that the session reads."""
    found = set(read_by_credentials(spec.key.namespace, spec.credentials))
    endpoints_from = spec.target.endpoints_from
    if endpoints_from is not None and (holder := endpoints_from.secret_ref) is not None:
        found.add(Identity("Secret", holder.namespace_for(spec.key.namespace), holder.name))
    tls = spec.target.tls
    if tls.ca_ref is not None:
        namespace = tls.ca_ref.namespace_for(spec.key.namespace)
        found.add(Identity(tls.ca_ref.kind, namespace, tls.ca_ref.name))
    if tls.client_certificate_ref is not None:
        namespace = tls.client_certificate_ref.namespace_for(spec.key.namespace)
        found.add(Identity("Secret", namespace, tls.client_certificate_ref.name))
    return frozenset(found)


def read_by_credentials(namespace: str, credentials: v1alpha1.Credentials) -> frozenset[Identity]:
    """Return what the credentials are read from; it is all in the namespace of the connection."""
    found = {
        Identity("Secret", namespace, reference.name)
        for reference in (credentials.secret_ref, credentials.token_ref)
        if reference is not None
    }
    if credentials.token_file is not None:
        found.add(Identity(TOKEN_FILE, namespace, credentials.token_file.name))
    if (client := credentials.oauth2) is not None:
        found.add(Identity("Secret", namespace, client.client_ref.name))
        if client.ca_ref is not None:
            found.add(Identity(client.ca_ref.kind, namespace, client.ca_ref.name))
    return frozenset(found)
