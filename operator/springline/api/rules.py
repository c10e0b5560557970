"""Rules over several fields of one document, as data.

A rule names the object it belongs to and the fields it compares, and is evaluated on the document
as it was written, so that what it finds can be reported together with fields that are wrong by
themselves. Where a value has the wrong type, a rule leaves it to the field's own error. Each rule
can also write itself as CEL, in which the API server evaluates it.

A field counts as *given* unless it is missing, null or false. False, because a flag that a schema's
default put there must mean the same as one that nobody wrote.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic.alias_generators import to_camel

from springline.api import broker, durations
from springline.api.connection import BrokerConnectionSpec
from springline.api.problems import Path, Problem

__all__ = [
    "RULES",
    "AtMostOneOf",
    "ExactlyOneOf",
    "NeverBoth",
    "NotBelow",
    "OnlyWith",
    "Requires",
    "Rule",
    "check",
]


Schema = Mapping[str, Any]
"""An OpenAPI schema, as far as a rule has to know which field is what."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExactlyOneOf:
    """Of these fields one is given, and no other."""

    at: str  # the object that has the fields, as a path with dots
    fields: tuple[str, ...]

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        if not isinstance(holder, Mapping):
            return
        given = [field for field in self.fields if _given(holder.get(field))]
        if len(given) == 1:
            return
        if given:
            finding = f"{_both(given, self.fields)} given"
        else:
            # `external:` with nothing below it looks as if it were given.
            empty = [field for field in self.fields if field in holder]
            none = "neither" if len(self.fields) == 2 else "none"
            finding = f"{_listed(empty)} has no value" if empty else f"{none} is given"
        yield Problem(_path(self.at), f"{self._needed}, and {finding}")

    @property
    def _needed(self) -> str:
        return f"exactly one of {_listed(self.fields)} is needed"

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        given = ", ".join(_cel_given(schema, field) for field in self.fields)
        return f"[{given}].exists_one(each, each)", self._needed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AtMostOneOf:
    """Of these fields no two are given."""

    at: str
    fields: tuple[str, ...]
    because: str = ""

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        if not isinstance(holder, Mapping):
            return
        given = [field for field in self.fields if _given(holder.get(field))]
        if len(given) > 1:
            finding = _both(given, self.fields)
            reason = f"; {self.because}" if self.because else ""
            yield Problem(
                _path(self.at),
                f"at most one of {_listed(self.fields)} can be given, and {finding}{reason}",
            )

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        given = ", ".join(_cel_given(schema, field) for field in self.fields)
        reason = f"; {self.because}" if self.because else ""
        return (
            f"[{given}].filter(each, each).size() <= 1",
            f"at most one of {_listed(self.fields)} can be given{reason}",
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Requires:
    """Where all of `when` are given, `needs` is too. It is reported at the first of `when`."""

    at: str
    when: tuple[str, ...]  # paths with dots, below `at`
    needs: str  # the same
    sentence: str

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        if not isinstance(holder, Mapping):
            return
        if all(_given(_lookup(holder, path)) for path in self.when) and not _given(
            _lookup(holder, self.needs)
        ):
            yield Problem(_path(self.at) + _path(self.when[0]), self.sentence)

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        when = " && ".join(_cel_given(schema, path) for path in self.when)
        rule = f"!({when}) || ({_cel_given(schema, self.needs)})"
        return rule, f"{self.when[0]} {self.sentence}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NotBelow:
    """The duration in `field` is not less than the one in `floor`; defaults count."""

    at: str
    field: str
    default: timedelta
    floor: str
    floor_default: timedelta

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        if not isinstance(holder, Mapping):
            return
        value = _duration(holder.get(self.field), self.default)
        floor = _duration(holder.get(self.floor), self.floor_default)
        if value is None or floor is None or value >= floor:
            return
        note = " (the default)" if holder.get(self.field) is None else ""
        floor_note = ", the default" if holder.get(self.floor) is None else ""
        yield Problem(
            (*_path(self.at), self.field),
            f"{durations.format(value)}{note} is less than {self.floor}"
            f" ({durations.format(floor)}{floor_note})",
        )

    def cel(self, schema: Schema) -> tuple[str, str]:  # noqa: ARG002 - as the other rules have it
        """Return the same rule for the API server, as CEL on the object, and its message."""
        value = _cel_duration(self.field, self.default)
        floor = _cel_duration(self.floor, self.floor_default)
        return f"{value} >= {floor}", f"{self.field} must not be less than {self.floor}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OnlyWith:
    """`field` is given where `switch` has this value, and not where it has its default."""

    at: str
    field: str
    switch: str
    value: str
    default: str

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        if not isinstance(holder, Mapping):
            return
        chosen = self.default if holder.get(self.switch) is None else holder.get(self.switch)
        is_given = _given(holder.get(self.field))
        if chosen == self.value and not is_given:
            yield Problem(_path(self.at), self._needed)
        elif chosen == self.default and is_given:
            advice = f'write "{self.switch}: {self.value}" beside it'
            yield Problem((*_path(self.at), self.field), f"{self._useless}; {advice}")

    @property
    def _needed(self) -> str:
        return f"{self.field} is needed with {self.switch}: {self.value}"

    @property
    def _useless(self) -> str:
        return f"has no effect with {self.switch}: {self.default}"

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        chosen = f"(has(self.{self.switch}) ? self.{self.switch} : '{self.default}')"
        given = _cel_given(schema, self.field)
        return f"({chosen} == '{self.value}') == ({given})", f"{self._needed}, and {self._useless}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NeverBoth:
    """`field` is not given where `other` has this value, or is given at all."""

    at: str
    field: str
    other: str  # a path with dots, below `at`
    value: str | None = None  # any, where None
    default: str | int | None = None  # of the field, which is as if it was not given
    sentence: str  # what follows the field

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        if not isinstance(holder, Mapping):
            return
        other = _lookup(holder, self.other)
        is_so = _given(other) if self.value is None else other == self.value
        given = _lookup(holder, self.field)
        if is_so and _given(given) and given != self.default:
            yield Problem((*_path(self.at), *_path(self.field)), self.sentence)

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        other = _cel_given(schema, self.other)
        if self.value is not None:
            other += f" && self.{self.other} == '{self.value}'"
        given = _cel_given(schema, self.field)
        if self.default is not None:
            default = f"'{self.default}'" if isinstance(self.default, str) else self.default
            given += f" && self.{self.field} != {default}"
        return f"!({given} && {other})", f"{self.field} {self.sentence}"


Rule = ExactlyOneOf | AtMostOneOf | Requires | NotBelow | OnlyWith | NeverBoth


def _not_with_http(
    at: str, field: str, *, protocol: str, default: str | int | None = None
) -> NeverBoth:
    """Return the rule for a field that has no meaning over HTTP.

    Where the broker is another object, the protocol's own package says the same.
    """
    return NeverBoth(
        at=at,
        field=field,
        other=protocol,
        value="http",
        default=default,
        sentence="has no meaning with protocol http; leave it out",
    )


def broker_rules(at: str) -> tuple[Rule, ...]:
    """Return the rules of a broker's fields, wherever they stand."""
    tls = f"{at}.tls"
    return (
        ExactlyOneOf(at=at, fields=("endpoints", "endpointsFrom")),
        ExactlyOneOf(at=f"{at}.endpointsFrom", fields=("dnsSRV", "service", "secretRef")),
        *(
            Requires(
                at=tls,
                when=(field,),
                needs="enabled",
                sentence='has no effect without TLS; write "enabled: true" beside it',
            )
            for field in ("caRef", "clientCertificateRef", "serverName", "insecureSkipVerify")
        ),
        AtMostOneOf(
            at=tls,
            fields=("caRef", "insecureSkipVerify"),
            because="a certificate that is not verified needs no authority",
        ),
        AtMostOneOf(at=f"{at}.locale", fields=("prefer", "select")),
        *(
            _not_with_http(at, f"locale.{field}", protocol="protocol")
            for field in ("prefer", "select")
        ),
        NotBelow(
            at=f"{at}.retry",
            field="maxDelay",
            default=broker.DEFAULT_MAX_DELAY,
            floor="delay",
            floor_default=broker.DEFAULT_DELAY,
        ),
    )


RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "Broker": broker_rules("spec"),
    "ClusterBroker": (
        *broker_rules("spec"),
        OnlyWith(
            at="spec.allowedNamespaces",
            field="selector",
            switch="from",
            value="Selector",
            default="All",
        ),
    ),
    "BrokerConnection": (
        ExactlyOneOf(at="spec", fields=("brokerRef", "broker")),
        ExactlyOneOf(
            at="spec.credentials",
            fields=(
                "secretRef",
                "tokenRef",
                "tokenFile",
                "oauth2",
                "serviceAccount",
                "external",
                "anonymous",
            ),
        ),
        NeverBoth(
            at="spec",
            field="binding",
            other="rotation.verify",
            value="None",
            sentence="needs rotation.verify: Handshake, because it holds only what was verified",
        ),
        NeverBoth(
            at="spec",
            field="binding",
            other="credentials.anonymous",
            sentence=(
                "cannot be used with credentials.anonymous: applications are given what the broker"
                " has accepted, and that is nothing"
            ),
        ),
        NeverBoth(
            at="spec",
            field="binding",
            other="credentials.serviceAccount",
            sentence=(
                "cannot be used with credentials.serviceAccount, whose tokens are never written"
                " anywhere; mount a projected token in the application instead"
            ),
        ),
        NeverBoth(
            at="spec.probe",
            field="exchange",
            default="",
            other="mode",
            value="OwnQueue",
            sentence=(
                "has no effect with mode: OwnQueue, which publishes through the default exchange"
            ),
        ),
        Requires(
            at="spec",
            when=("credentials.external", "broker"),
            needs="broker.tls.clientCertificateRef",
            sentence=(
                "needs spec.broker.tls.clientCertificateRef, because SASL EXTERNAL logs in with"
                " the client certificate"
            ),
        ),
        *(
            _not_with_http(
                "spec",
                to_camel(field),
                protocol="broker.protocol",
                default=BrokerConnectionSpec.model_fields[field].default,
            )
            for field in ("virtual_host", "frame_max", "channel_max")
        ),
        *broker_rules("spec.broker"),
    ),
}


def check(kind: str, document: object) -> list[Problem]:
    """Return what the rules of a kind find in a document, as it was written."""
    return [problem for rule in RULES.get(kind, ()) for problem in rule.check(document)]


def _lookup(document: object, path: str) -> object:
    """Return what stands at a path, or None where nothing does."""
    for part in _path(path):
        if not isinstance(document, Mapping):
            return None
        document = document.get(part)
    return document


def _given(value: object) -> bool:
    return value is not None and value is not False


def _duration(value: object, default: timedelta) -> timedelta | None:
    """Return a duration, its default where it is not given, None where it is none."""
    if value is None:
        return default
    try:
        return durations.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _cel_given(schema: Schema, path: str) -> str:
    """Return CEL for whether the field at a path is given, from the object whose schema it is."""
    terms, holder = [], "self"
    for part in _path(path):
        holder = f"{holder}.{part}"
        terms.append(f"has({holder})")
        schema = schema["properties"][part]
    if schema.get("type") == "boolean":
        terms.append(holder)
    return " && ".join(terms)


def _cel_duration(field: str, default: timedelta) -> str:
    written = durations.format(default)
    return f"duration(has(self.{field}) ? self.{field} : '{written}')"


@functools.cache  # there are as many as rules say, and every document is looked at by all of them
def _path(dotted: str) -> Path:
    return tuple(dotted.split("."))


def _both(given: list[str], fields: tuple[str, ...]) -> str:
    if len(given) < len(fields):
        return f"{_listed(given)} are"
    return "both are" if len(fields) == 2 else "all are"


def _listed(names: list[str] | tuple[str, ...]) -> str:
    """Join names as a sentence does: `a`, `a and b`, `a, b and c`."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last
