"""From what a session is to what its `status` says. Pure: no clock, no I/O, and never a secret.

The status of a connection is a plain document: it is made at every change of a session, and to go
through the models would double its cost. Tests check that the models accept it.

The caller keeps the conditions of the last projection and passes them in, because a condition's
`lastTransitionTime` moves only when its status flips.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from springline.api import status
from springline.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    updated,
)
from springline.api.times import rfc3339
from springline.core import stalling
from springline.core.binding import Publication
from springline.core.state import Failure, Phase, SessionState
from springline.core.values import ServerInfo
from springline.core.verdicts import Verdict
from springline.core.view import CredentialUse, LastClose, SessionView
from springline.reasons import Reason

__all__ = ["broker_status", "conditions", "connection_status"]


def conditions(
    view: SessionView,
    *,
    previous: Sequence[Condition] = (),
    binding: Publication | None = None,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions of a session, with the times of `previous` where nothing flipped.

    Without `binding` there is no condition BindingPublished, and none Stalled where it would not be
    True. A session that is suspended is as it was declared, so it has none that is called Ready:
    one that is False would say that it is on its way there.
    """
    connected = _connected(view.state)
    verdicts: dict[ConditionType, Verdict] = {}
    if view.state.phase is not Phase.SUSPENDED:
        verdicts[ConditionType.READY] = _ready(view.state, connected)
    verdicts |= {
        ConditionType.CONNECTED: connected,
        ConditionType.CREDENTIALS_VALID: view.state.credentials,
        ConditionType.SYNCED: view.state.synced,
        ConditionType.BLOCKED: view.state.blocked,
    }
    if binding is not None:
        verdicts[ConditionType.BINDING_PUBLISHED] = binding.verdict
    before = next((each for each in previous if each.type is ConditionType.STALLED), None)
    if (stalled := stalling.stalled(view, before)) is not None:
        verdicts[ConditionType.STALLED] = stalled
    return _as_conditions(verdicts, previous, generation=view.generation, now=now)


def _as_conditions(
    verdicts: Mapping[ConditionType, Verdict],
    previous: Sequence[Condition],
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return a condition for each verdict, and no others."""
    before = {each.type: each for each in previous if each.type in verdicts}
    return updated(
        tuple(before.values()),
        [
            Condition(
                type=kind,
                status=verdict.status,
                reason=verdict.reason,
                message=verdict.message,
                last_transition_time=now,
                observed_generation=generation,
            )
            for kind, verdict in verdicts.items()
            if not _is_said(before.get(kind), verdict, generation)
        ],
    )


def _is_said(before: Condition | None, verdict: Verdict, generation: int) -> bool:
    """Whether a condition says the same already, but for its time, which then stays."""
    return (
        before is not None
        and before.status is verdict.status
        and before.reason is verdict.reason
        and before.observed_generation == generation
        and before.message == verdict.message
    )


def _connected(state: SessionState) -> Verdict:
    if state.phase is Phase.CONNECTED:
        return Verdict(
            status=ConditionStatus.TRUE, reason=Reason.OPEN, message="the session is open"
        )
    failure = state.failure or Failure(
        reason=Reason.CONNECTING, message="the first attempt is under way"
    )
    return Verdict(status=ConditionStatus.FALSE, reason=failure.reason, message=failure.message)


def _ready(state: SessionState, connected: Verdict) -> Verdict:
    """Connected as declared, with a valid credential; else the reason of what holds it back."""
    credentials = state.credentials
    if connected.status is not ConditionStatus.TRUE:
        if connected.reason is Reason.NO_CREDENTIALS:
            return Verdict(
                status=ConditionStatus.FALSE,
                reason=credentials.reason,
                message=credentials.message,
            )
        return connected
    if state.synced.reason is Reason.APPLYING:
        return state.synced  # whatever was refused before, is not what is declared now
    if credentials.status is not ConditionStatus.TRUE:
        return Verdict(
            status=ConditionStatus.FALSE, reason=credentials.reason, message=credentials.message
        )
    if state.synced.status is not ConditionStatus.TRUE:
        return state.synced
    return Verdict(
        status=ConditionStatus.TRUE,
        reason=Reason.CONNECTED,
        message="the session is open as declared and its credential is valid",
    )


def connection_status(
    view: SessionView,
    conditions: Sequence[Condition],
    *,
    holder: str | None = None,
    last_handled: status.LastHandledStatus | None = None,
    binding: Publication | None = None,
) -> dict[str, Any]:
    """Return `status` of the BrokerConnection that `view` is the session of, as in the document.

    `holder` keeps the session; `last_handled` are the requests that it has acted on; `binding` is
    what has become of the Secret for applications. Parts of it are shared: do not change them.
    """
    info, credential, blocked = view.info, view.credential, _blocked(view)
    return _present(
        {
            "observedGeneration": view.generation,
            "state": view.state.phase.value,
            "conditions": [each.as_dict() for each in conditions],
            "connectedSince": _time(view.connected_since),
            "endpoint": f"{info.endpoint} ({info.address})" if info is not None else None,
            "negotiated": (
                status.as_document(info.negotiated.as_status()) if info is not None else None
            ),
            "server": _server(info.server) if info is not None else None,
            "credentials": _credentials(credential) if credential is not None else None,
            "blocked": blocked,
            "lastClose": _last_close(view.last_close) if view.last_close is not None else None,
            "attempts": view.state.attempts,
            "binding": _binding(binding),
            "holder": holder,
            "lastHandled": status.as_document(last_handled) if last_handled is not None else None,
        }
    )


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _time(at: datetime | None) -> str | None:
    return rfc3339(at) if at is not None else None


_BROKERS: Final = 256
"""How many `status.server` are kept: a fleet has few brokers."""


def _server(server: ServerInfo) -> dict[str, Any]:
    try:
        return _known_server(server)
    except TypeError:  # a protocol's own value that has no hash
        return status.as_document(server.as_status())


@lru_cache(maxsize=_BROKERS)
def _known_server(server: ServerInfo) -> dict[str, Any]:
    return status.as_document(server.as_status())


def _credentials(use: CredentialUse) -> dict[str, Any]:
    credential = use.credential
    return _present(
        {
            "source": credential.source,
            "username": use.username or None,
            "observedVersion": credential.version or None,
            "verifiedAt": _time(use.verified_at),
            "appliedAt": _time(use.applied_at),
            "method": use.method,
            "expiresAt": _time(credential.expires_at),
            "renewAt": _time(use.renew_at),
        }
    )


def _blocked(view: SessionView) -> dict[str, Any] | None:
    if view.state.blocked.status is not ConditionStatus.TRUE or view.blocked_since is None:
        return None
    return {"since": rfc3339(view.blocked_since), "reason": view.state.blocked.message}


def _binding(binding: Publication | None) -> dict[str, Any] | None:
    if binding is None or binding.name is None:
        return None
    return {"name": binding.name}


def _last_close(last: LastClose) -> dict[str, Any]:
    info = last.info
    codes = {name: code for name, code in info.codes.items() if name in _CODES}
    return {
        "at": rfc3339(last.at),
        "by": info.by.value,
        "reason": info.reason.value,
        "text": info.text,
        **codes,
    }


_CODES: Final = frozenset(
    field.alias or name for name, field in status.LastCloseStatus.model_fields.items()
)
"""The fields of a close; what else a protocol has for one is not shown."""


def broker_status(
    views: Iterable[SessionView],
    *,
    generation: int,
    problem: str | None = None,
    previous: Sequence[Condition] = (),
    holder: str | None = None,
    now: datetime,
) -> tuple[status.BrokerStatus, tuple[Condition, ...]]:
    """Return `status` of a broker from the sessions that use it, and the conditions to pass in
    next.

    `problem` says why its declaration cannot be used, and `holder` which replica counts. A broker
    is Ready when it can be used as it is declared, whether anybody uses it or not, and Reachable
    when a session to it is open.
    """
    views = list(views)
    open_views = [view for view in views if view.state.phase is Phase.CONNECTED]
    verdicts = {
        ConditionType.READY: _USABLE,
        ConditionType.REACHABLE: _reachable(views, open_views),
    }
    if problem is not None:
        invalid = Verdict(status=ConditionStatus.FALSE, reason=Reason.INVALID_SPEC, message=problem)
        verdicts[ConditionType.READY] = invalid
        # Nothing but another declaration of it helps.
        verdicts[ConditionType.STALLED] = dataclasses.replace(invalid, status=ConditionStatus.TRUE)
    new = _as_conditions(verdicts, previous, generation=generation, now=now)
    server = next((view.info.server for view in open_views if view.info is not None), None)
    result = status.BrokerStatus(
        observed_generation=generation,
        conditions=tuple(each.as_dict() for each in new),
        server=server.as_status() if server is not None else None,
        connections=status.ConnectionCounts(
            declared=len(views),
            ready=sum(view.is_ready for view in views),
            blocked=sum(view.state.blocked.status is ConditionStatus.TRUE for view in views),
        ),
        holder=holder,
    )
    return result, new


# What keeps a session from being open without a word from the broker.
_ASKED_NOTHING = frozenset(
    {
        Reason.SUSPENDED,
        Reason.STAY_CLOSED,
        Reason.CLIENT_CLOSED,
        Reason.NO_CREDENTIALS,
        Reason.INVALID_SPEC,
        Reason.BROKER_NOT_FOUND,  # of one that cannot be used, and never could
        Reason.NAMESPACE_NOT_ALLOWED,
        Reason.INSECURE_MECHANISM,
        Reason.INTERNAL_ERROR,
    }
)


_USABLE = Verdict(
    status=ConditionStatus.TRUE,
    reason=Reason.USABLE,
    message="the declaration can be used",
)


def _reachable(views: Sequence[SessionView], open_views: Sequence[SessionView]) -> Verdict:
    if open_views:
        return Verdict(
            status=ConditionStatus.TRUE,
            reason=Reason.CONNECTED,
            message=f"{len(open_views)} of {len(views)} sessions are open",
        )
    failures = (view.state.failure for view in views)
    failure = next((each for each in failures if each and each.reason not in _ASKED_NOTHING), None)
    if failure is None:
        return Verdict(
            status=ConditionStatus.UNKNOWN,
            reason=Reason.NOT_CHECKED,
            message="no session has got an answer from this broker yet",
        )
    return Verdict(status=ConditionStatus.FALSE, reason=failure.reason, message=failure.message)
