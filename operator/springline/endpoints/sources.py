"""From a declaration to the source of its endpoints. A new source is added here."""

from springline.core import ports
from springline.core.desired import SessionSpec
from springline.endpoints.declared import DeclaredEndpoints
from springline.endpoints.secret import SecretEndpoints
from springline.endpoints.service import ServiceEndpoints
from springline.endpoints.srv import SRVEndpoints

__all__ = ["EndpointSources"]


class EndpointSources:
    """Makes the sources of endpoints that declarations name."""

    def __init__(
        self,
        reader: ports.ObjectReader,
        *,
        resolver: ports.Resolver,
        services: ports.ServiceLookup,
    ) -> None:
        self._reader = reader
        self._resolver = resolver
        self._services = services

    def endpoints(self, spec: SessionSpec) -> ports.EndpointSource:
        """Return the source of the one kind of endpoints that is declared."""
        target, declared = spec.target, spec.target.endpoints_from
        if declared is None:
            return DeclaredEndpoints(target.endpoints)
        if (service := declared.service) is not None:
            namespace = service.namespace_for(spec.key.namespace)
            return ServiceEndpoints(self._services, namespace, service.name, service.port)
        if (secret := declared.secret_ref) is not None:
            namespace = secret.namespace_for(spec.key.namespace)
            return SecretEndpoints(self._reader, namespace, secret, target.default_port)
        tls = target.tls
        return SRVEndpoints(
            self._resolver,
            declared.dns_srv or "",
            namespace=spec.key.namespace,
            own_domain=(tls.enabled and tls.server_name is None and not tls.insecure_skip_verify),
        )
