"""What an API server saw being asked: its request counters and its audit log, read.

Pure: it takes the texts, and does not know where they come from.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["AuditedRequest", "audited", "counted"]

_COUNTER = re.compile(
    r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRequest:
    """One request, as the audit log has it."""

    # As RBAC has it: `get`, `list`, `watch`, `create`, `patch`; server-side apply is `patch`, too.
    verb: str
    # Plural; empty for what is no resource, such as `/api`.
    resource: str
    subresource: str
    namespace: str
    name: str
    # `system:serviceaccount:NAMESPACE:NAME` for a ServiceAccount.
    user: str
    user_agent: str
    code: int


def counted(metrics: str, resource: str, *, verb: str | None, subresource: str | None) -> int:
    """Add up the counters of a resource; None for any verb or subresource."""
    total = 0.0
    for match in _COUNTER.finditer(metrics):
        labels = dict(_LABEL.findall(match["labels"]))
        if (
            labels["resource"] == resource
            and verb in (None, labels["verb"])
            and subresource in (None, labels["subresource"])
        ):
            total += float(match["value"])
    return int(total)


def audited(log: str) -> list[AuditedRequest]:
    """Read an audit log, which may end in the middle of a line."""
    # A watch is logged when it begins and when it ends.
    seen: dict[str, AuditedRequest] = {}
    for line in log.splitlines(keepends=True):
        if line.endswith("\n"):
            event = json.loads(line)
            seen.setdefault(event["auditID"], _request(event))
    return list(seen.values())


def _request(event: dict[str, Any]) -> AuditedRequest:
    of = event.get("objectRef", {})
    return AuditedRequest(
        verb=event["verb"],
        resource=of.get("resource", ""),
        subresource=of.get("subresource", ""),
        namespace=of.get("namespace", ""),
        name=of.get("name", ""),
        user=event["user"].get("username", ""),  # of whom nobody knows who it was, there is none
        user_agent=event.get("userAgent", ""),
        code=event.get("responseStatus", {}).get("code", 0),
    )
