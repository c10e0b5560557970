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

from springline import protocols
from springline.api import broker, durations
from springline.api.connection import BrokerConnectionSpec, Probe
from springline.api.meta import ApiModel
from springline.api.problems import Path, Problem
from springline.api.texts import LONGEST_NAME

__all__ = [
    "RULES",
    "AtMostOneOf",
    "ExactlyOneOf",
    "InEach",
    "LongestPlace",
    "NeedsOneOf",
    "NeverBoth",
    "NotBelow",
    "OnlyWith",
    "OwnBlock",
    "OwnEntries",
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
class NeedsOneOf:
    """Where `switch` has this value, at least one of these fields is given."""

    at: str
    switch: str
    value: str
    fields: tuple[str, ...]  # paths with dots, below `at`
    sentence: str

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        if not isinstance(holder, Mapping) or holder.get(self.switch) != self.value:
            return
        if not any(_given(_lookup(holder, path)) for path in self.fields):
            yield Problem(_path(self.at), self.sentence)

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        given = " || ".join(f"({_cel_given(schema, path)})" for path in self.fields)
        switch = f"self.{self.switch}"
        return f"!(has({switch}) && {switch} == '{self.value}') || {given}", self.sentence


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
    """`field` is not given where `other` has this value, or is given at all.

    An empty map counts as not given: it is what a schema puts there.
    """

    at: str
    field: str  # a path with dots, below `at`
    given: str | None = None  # the value of the field that is refused; any, where None
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
        if is_so and self._is_refused(_lookup(holder, self.field)):
            yield Problem((*_path(self.at), *_path(self.field)), self.sentence)

    def _is_refused(self, found: object) -> bool:
        if self.given is not None:
            return found == self.given
        return _given(found) and found != self.default and found != {}

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        other = _cel_given(schema, self.other)
        if self.value is not None:
            other += f" && self.{self.other} == '{self.value}'"
        given = _cel_given(schema, self.field)
        if self.given is not None:
            given += f" && self.{self.field} == {_cel_value(self.given)}"
        elif self.default is not None:
            given += f" && self.{self.field} != {_cel_value(self.default)}"
        elif "additionalProperties" in _below(schema, self.field):
            given += f" && size(self.{self.field}) > 0"
        field = self.field if self.given is None else f"{self.field}: {self.given}"
        return f"!({given} && {other})", f"{field} {self.sentence}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OwnBlock:
    """The block of a protocol's own has nothing but defaults beside a broker of another one.

    Where the broker is another object, the core says the same.
    """

    at: str
    field: str  # of the name that the protocol has
    defaults: tuple[tuple[str, Any], ...]  # of what is in the block, by path; None has none
    broker: str  # the object that has the protocol, below `at`

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        block, declared = _lookup(holder, self.field), _lookup(holder, self.broker)
        if not isinstance(block, Mapping) or not isinstance(declared, Mapping):
            return
        protocol = _protocol(declared)
        has_own = any(
            _lookup(block, path) not in (None, _plain(each)) for path, each in self.defaults
        )
        if has_own and protocol != self.field and protocol in protocols.PROTOCOLS:
            yield Problem(
                (*_path(self.at), self.field),
                f"has no meaning with protocol {protocol}, only with protocol {self.field};"
                " leave it out",
            )

    def cel(self, schema: Schema) -> tuple[str, str]:  # noqa: ARG002 - as the other rules have it
        """Return the same rule for the API server, as CEL on the object, and its message."""
        block = f"self.{self.field}"
        has_own = " || ".join(
            _cel_declared(block, path, default) for path, default in self.defaults
        )
        chosen = _cel_protocol(f"self.{self.broker}")
        rule = (
            f"!(has({block}) && has(self.{self.broker}) && {chosen} != '{self.field}'"
            f" && ({has_own}))"
        )
        return rule, f"{self.field} has a meaning only with protocol {self.field}; leave it out"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OwnEntries:
    """A list has no entry that only other protocols know, unless it is the default."""

    at: str  # the object that has the protocol
    field: str  # the list, as a path with dots, below `at`
    protocol: str
    known: tuple[str, ...]
    foreign: tuple[str, ...]
    default: tuple[str, ...]

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        entries = _lookup(holder, self.field)
        if not isinstance(holder, Mapping) or not isinstance(entries, list):
            return
        if _protocol(holder) != self.protocol or entries == list(self.default):
            return
        foreign = [each for each in self.foreign if each in entries]
        if foreign:
            yield Problem(
                (*_path(self.at), *_path(self.field)),
                f"{_listed(foreign)} cannot be used with protocol {self.protocol}, {self._has}",
            )

    @property
    def _has(self) -> str:
        return f"which has {_listed(self.known)}"

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        entries = f"self.{self.field}"
        rule = (
            f"!({_cel_protocol('self')} == '{self.protocol}' && {_cel_given(schema, self.field)}"
            f" && {entries} != {_cel_value(self.default)}"
            f" && {entries}.exists(each, each in {_cel_value(self.foreign)}))"
        )
        message = f"{self.field} must hold only {_listed(self.known)} with protocol {self.protocol}"
        return rule, message


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LongestPlace:
    """The name of a place is not longer than its protocol allows."""

    at: str  # the object that has the name
    field: str
    broker: str  # the object that has the protocol, below `at`
    protocol: str

    def check(self, document: object) -> Iterator[Problem]:
        holder = _lookup(document, self.at)
        declared, name = _lookup(holder, self.broker), _lookup(holder, self.field)
        if not isinstance(declared, Mapping) or not isinstance(name, str):
            return
        if _protocol(declared) == self.protocol and len(name) > self._longest:
            yield Problem((*_path(self.at), self.field), f"{self._sentence}, and has {len(name)}")

    @property
    def _longest(self) -> int:
        return protocols.PROTOCOLS[self.protocol].longest_place

    @property
    def _sentence(self) -> str:
        return f"must not have more than {self._longest} characters with protocol {self.protocol}"

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        rule = (
            f"!({_cel_given(schema, self.broker)} && {_cel_given(schema, self.field)}"
            f" && {_cel_protocol(f'self.{self.broker}')} == '{self.protocol}'"
            f" && size(self.{self.field}) > {self._longest})"
        )
        return rule, f"{self.field} {self._sentence}"


_OfOneObject = (
    ExactlyOneOf
    | AtMostOneOf
    | Requires
    | NeedsOneOf
    | NotBelow
    | OnlyWith
    | NeverBoth
    | OwnBlock
    | OwnEntries
    | LongestPlace
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InEach:
    """A rule holds in each entry of a list of objects."""

    entries: str  # the list, as a path with dots
    rule: _OfOneObject  # `at` is below an entry; empty for the entry itself

    @property
    def at(self) -> str:
        """The object that the rule belongs to; an entry of a list is `*` in it."""
        return f"{self.entries}.*.{self.rule.at}".rstrip(".")

    def check(self, document: object) -> Iterator[Problem]:
        entries = _lookup(document, self.entries)
        for position, entry in enumerate(entries if isinstance(entries, list) else ()):
            for problem in self.rule.check(entry):
                yield Problem(
                    (*_path(self.entries), position, *problem.path),
                    problem.sentence,
                )

    def cel(self, schema: Schema) -> tuple[str, str]:
        """Return the same rule for the API server, as CEL on the object, and its message."""
        return self.rule.cel(schema)


Rule = _OfOneObject | InEach


def _not_with(
    name: str,
    at: str,
    field: str,
    *,
    protocol: str,
    given: str | None = None,
    default: str | int | None = None,
) -> NeverBoth:
    """Return the rule for a field that has no meaning with the protocol of this name.

    Where the broker is another object, the protocol's own package says the same.
    """
    return NeverBoth(
        at=at,
        field=field,
        given=given,
        other=protocol,
        value=name,
        default=default,
        sentence=f"has no meaning with protocol {name}; leave it out",
    )


def _own_blocks(at: str, declared: type[ApiModel], *, broker: str) -> Iterator[OwnBlock]:
    """Return the rules for what only one protocol has, in a field of the protocol's name."""
    for name in protocols.PROTOCOLS:
        if name not in declared.model_fields:
            continue
        default = declared.model_fields[name].get_default(call_default_factory=True)
        if isinstance(default, ApiModel):
            yield OwnBlock(at=at, field=name, broker=broker, defaults=tuple(_defaults(default)))


def _defaults(block: ApiModel) -> Iterator[tuple[str, object]]:
    """Return the paths of a block's fields, as they are in a document, with their defaults."""
    written = block.model_dump(mode="json", by_alias=True)
    for name, each in type(block).model_fields.items():
        field, default = each.alias or to_camel(name), getattr(block, name)
        if isinstance(default, ApiModel):
            yield from ((f"{field}.{path}", inner) for path, inner in _defaults(default))
        else:
            yield field, default if isinstance(default, tuple) else written[field]


def _link_rules(entries: str) -> Iterator[InEach]:
    """Return the rules of each link of AMQP 1.0."""
    for role, end in (("Sender", "target"), ("Receiver", "source")):
        yield InEach(
            entries=entries,
            rule=NeedsOneOf(
                at="",
                switch="role",
                value=role,
                fields=(f"{end}.address", f"{end}.dynamic"),
                sentence=(
                    f"{end}.address is needed with role: {role}, or {end}.dynamic: true for a node"
                    " that the broker creates"
                ),
            ),
        )
        yield InEach(
            entries=entries,
            rule=AtMostOneOf(
                at=end,
                fields=("address", "dynamic"),
                because="the broker names the node that it creates",
            ),
        )
    # The broker creates what is at its end.
    for field, role in (
        ("source.filter", "Receiver"),
        ("source.dynamic", "Receiver"),
        ("target.dynamic", "Sender"),
        ("durableSubscription", "Receiver"),
    ):
        yield InEach(
            entries=entries,
            rule=NeverBoth(
                at="",
                field=field,
                other="role",
                value="Sender" if role == "Receiver" else "Receiver",
                sentence=f"has a meaning only with role: {role}; leave it out",
            ),
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
            _not_with("http", at, f"locale.{field}", protocol="protocol")
            for field in ("prefer", "select")
        ),
        *(
            OwnEntries(
                at=at,
                field="sasl.mechanisms",
                protocol=each.name,
                known=each.mechanisms,
                foreign=tuple(name for name in protocols.MECHANISMS if name not in each.mechanisms),
                default=protocols.DEFAULT_MECHANISMS,
            )
            for each in protocols.PROTOCOLS.values()
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
            _not_with(
                "http",
                "spec",
                to_camel(field),
                protocol="broker.protocol",
                default=BrokerConnectionSpec.model_fields[field].default,
            )
            for field in ("virtual_host", "frame_max", "channel_max")
        ),
        _not_with("http", "spec", "clientProperties", protocol="broker.protocol"),
        *(
            LongestPlace(at="spec", field="virtualHost", broker="broker", protocol=each.name)
            for each in protocols.PROTOCOLS.values()
            if each.longest_place < LONGEST_NAME
        ),
        *(
            _not_with(
                name,
                "spec",
                f"probe.{to_camel(field)}",
                protocol="broker.protocol",
                default=Probe.model_fields[field].default,
            )
            for name in ("amqp10", "http")
            for field in ("exchange", "routing_key")
        ),
        *(
            _not_with(name, "spec", "probe.mode", given="OwnQueue", protocol="broker.protocol")
            for name in ("amqp10", "http")
        ),
        *_link_rules("spec.amqp10.links"),
        *_own_blocks("spec", BrokerConnectionSpec, broker="broker"),
        *broker_rules("spec.broker"),
    ),
}


def check(kind: str, document: object) -> list[Problem]:
    """Return what the rules of a kind find in a document, as it was written."""
    return [problem for rule in RULES.get(kind, ()) for problem in rule.check(document)]


def _lookup(document: object, path: str) -> object:
    """Return what stands at a path, or None where nothing does."""
    for part in _path(path):
        if type(document) is not dict and not isinstance(document, Mapping):
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


def _protocol(declared: Mapping[str, Any]) -> object:
    """Return the protocol of a broker as it was written, or the one that is the default."""
    found = declared.get("protocol")
    return protocols.DEFAULT if found is None else found


def _plain(value: object) -> object:
    """Return a default of a model as it stands in a document."""
    return list(value) if isinstance(value, tuple) else value


def _cel_protocol(broker: str) -> str:
    return f"(has({broker}.protocol) ? {broker}.protocol : '{protocols.DEFAULT}')"


def _cel_value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_cel_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _cel_declared(block: str, path: str, default: object) -> str:
    """Return CEL for whether the field at a path below a block has another value than its default.

    An empty list is what a schema puts there.
    """
    terms = [f"has({holder})" for holder in _holders(block, path)]
    if default == ():
        terms.append(f"size({block}.{path}) > 0")
    elif default is not None:
        terms.append(f"{block}.{path} != {_cel_value(default)}")
    return f"({' && '.join(terms)})" if len(terms) > 1 else terms[0]


def _holders(holder: str, path: str) -> Iterator[str]:
    """Return `self.a` and `self.a.b` for the path `a.b` below `self`."""
    for part in _path(path):
        holder = f"{holder}.{part}"
        yield holder


def _cel_given(schema: Schema, path: str) -> str:
    """Return CEL for whether the field at a path is given, from the object whose schema it is."""
    terms = [f"has({holder})" for holder in _holders("self", path)]
    if _below(schema, path).get("type") == "boolean":
        terms.append(f"self.{path}")
    return " && ".join(terms)


def _below(schema: Schema, path: str) -> Schema:
    """Return the schema of the field at a path."""
    for part in _path(path):
        schema = schema["properties"][part]
    return schema


def _cel_duration(field: str, default: timedelta) -> str:
    written = durations.format(default)
    return f"duration(has(self.{field}) ? self.{field} : '{written}')"


@functools.cache  # there are as many as rules say, and every document is looked at by all of them
def _path(dotted: str) -> Path:
    return tuple(dotted.split(".")) if dotted else ()


def _both(given: list[str], fields: tuple[str, ...]) -> str:
    if len(given) < len(fields):
        return f"{_listed(given)} are"
    return "both are" if len(fields) == 2 else "all are"


def _listed(names: list[str] | tuple[str, ...]) -> str:
    """Join names as a sentence does: `a`, `a and b`, `a, b and c`."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last
