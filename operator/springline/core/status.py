"""From what a session is to what its `status` says. Pure: no clock, no I/O, and never a secret.

The caller keeps the conditions of the last projection and passes them in, because a condition's
`lastTransitionTime` moves only when its status flips.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from springline.api import status
from springline.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    updated,
)
from springline.core import stalling
from springline.core.binding import Publication
from springline.core.state import Failure, Phase, SessionState
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
    return updated(
        [condition for condition in previous if condition.type in verdicts],
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
        ],
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
) -> status.BrokerConnectionStatus:
    """Return `status` of the BrokerConnection that `view` is the session of.

    `holder` keeps the session; `last_handled` are the requests that it has acted on; `binding` is
    what has become of the Secret for applications.
    """
    info = view.info
    return status.BrokerConnectionStatus(
        observed_generation=view.generation,
        state=view.state.phase.value,
        conditions=status.condition_documents(conditions),
        connected_since=view.connected_since,
        endpoint=f"{info.endpoint} ({info.address})" if info is not None else None,
        negotiated=info.negotiated.as_status() if info is not None else None,
        server=info.server.as_status() if info is not None else None,
        credentials=_credentials(view.credential) if view.credential is not None else None,
        blocked=_blocked(view),
        last_close=_last_close(view.last_close) if view.last_close is not None else None,
        attempts=view.state.attempts,
        binding=_binding(binding),
        holder=holder,
        last_handled=last_handled,
    )


def _credentials(use: CredentialUse) -> status.CredentialsStatus:
    credential = use.credential
    return status.CredentialsStatus(
        source=credential.source,
        username=use.username or None,
        observed_version=credential.version or None,
        verified_at=use.verified_at,
        applied_at=use.applied_at,
        method=use.method,
        expires_at=credential.expires_at,
        renew_at=use.renew_at,
    )


def _blocked(view: SessionView) -> status.BlockedStatus | None:
    if view.state.blocked.status is not ConditionStatus.TRUE or view.blocked_since is None:
        return None
    return status.BlockedStatus(since=view.blocked_since, reason=view.state.blocked.message)


def _binding(binding: Publication | None) -> status.BindingStatus | None:
    if binding is None or binding.name is None:
        return None
    return status.BindingStatus(name=binding.name)


def _last_close(last: LastClose) -> status.LastCloseStatus:
    info = last.info
    return status.LastCloseStatus(
        at=last.at,
        by=info.by.value,
        reason=info.reason.value,
        text=info.text,
        **_by_field(info.codes),
    )


def _by_field(codes: Mapping[str, int]) -> dict[str, Any]:
    """Return the codes of a close by the fields that status has for them."""
    fields = status.LastCloseStatus.model_fields.items()
    names = {field.alias or name: name for name, field in fields}
    return {names[code]: value for code, value in codes.items() if code in names}


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
        conditions=status.condition_documents(new),
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
