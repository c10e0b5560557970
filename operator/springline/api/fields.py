"""What single values may look like: names, keys, host names, numbers within a range.

Each annotation refuses with a sentence (see `problems.refused`) and describes itself in the JSON
schema, so that the generated CRD has the same limits. Rules over several fields are in `rules`.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Sequence, Sized
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from springline.api import problems

__all__ = [
    "Audience",
    "Between",
    "ByteCount",
    "ContainerID",
    "DataKey",
    "DomainName",
    "EndpointHost",
    "Entries",
    "FilterName",
    "FilterText",
    "HostName",
    "HttpBlockedStatus",
    "HttpPath",
    "HttpStatus",
    "HttpsURL",
    "LabelKey",
    "LabelValue",
    "LinkName",
    "LocaleName",
    "Named",
    "NamespaceName",
    "NodeAddress",
    "ObjectName",
    "Percentage",
    "PlainText",
    "Port",
    "PropertyName",
    "Scope",
    "ServiceName",
    "ServicePort",
    "ShortString",
    "Text",
    "VirtualHostName",
    "is_host",
    "no_more_than",
]

Number = TypeVar("Number", int, float)


def _utf8(value: str) -> str:
    """Refuse lone surrogates, which YAML can escape and nothing can send."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise problems.refused("", expected=problems.NOT_TEXT) from None
    return value


PlainText = Annotated[str, AfterValidator(_utf8)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Annotate a `str` field with what it must look like."""

    noun: str  # what it is, for the sentence
    advice: str = ""  # how to write it
    pattern: str = ""  # of the whole text; anything where empty
    minimum: int = 1  # bytes of UTF-8
    maximum: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described: dict[str, Any] = {**handler(schema), "maxLength": self.maximum}
        if self.minimum:
            described["minLength"] = self.minimum
        if self.pattern:
            described["pattern"] = f"^(?:{self.pattern})$"
        else:
            # A schema counts characters, AMQP counts bytes.
            described["x-kubernetes-validations"] = [
                {
                    "rule": f"size(bytes(self)) <= {self.maximum}",
                    "message": f"must not be longer than {self.maximum} bytes",
                },
                {
                    "rule": r"!self.contains('\x00')",
                    "message": "must not hold a NUL character",
                },
            ]
        return described

    def _validate(self, value: str) -> str:
        size = len(_utf8(value).encode())
        advice = f"; {self.advice}" if self.advice else ""
        if size < self.minimum:
            raise problems.refused("", expected="must not be empty")
        if size > self.maximum:
            limit = f"longer than {self.maximum} bytes"
            raise problems.refused(f"is {limit}", expected=f"must not be {limit}")
        if "\0" in value:
            raise problems.refused("", expected="must not hold a NUL character")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise problems.refused(
                f"is not {self.noun}{advice}", expected=f"must be {self.noun}{advice}"
            )
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """Annotate a number with its range, both ends included."""

    minimum: int
    maximum: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.minimum, "maximum": self.maximum}

    def _validate(self, value: Number) -> Number:
        if not self.minimum <= value <= self.maximum:
            bounds = f"between {self.minimum} and {self.maximum}"
            raise problems.refused(
                f"is out of range; it must be {bounds}", expected=f"must be {bounds}"
            )
        return value


def no_more_than(maximum: int, entries: Sized) -> None:
    """Refuse more entries than there may be."""
    if len(entries) > maximum:
        raise problems.refused("", expected=f"must not have more than {maximum} entries")


def _each_once(entries: Sequence[Any]) -> None:
    doubles = [entry for entry in dict.fromkeys(entries) if entries.count(entry) > 1]
    if doubles:
        listed = ", ".join(f"{problems.quoted(entry)}" for entry in doubles)
        raise problems.refused("", expected=f"has {listed} more than once")


@dataclasses.dataclass(frozen=True, slots=True)
class Entries:
    """Annotate a tuple with how many entries it may have, and whether they must differ."""

    maximum: int
    distinct: bool = False
    or_none: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described: dict[str, Any] = {
            **handler(schema),
            **({} if self.or_none else {"minItems": 1}),
            "maxItems": self.maximum,
            "x-kubernetes-list-type": "atomic",  # the order of the entries means something
        }
        if self.distinct:
            # The API server knows no unique items beside a list type that loses the order.
            described["x-kubernetes-validations"] = [
                {
                    "rule": "self.all(x, self.exists_one(y, y == x))",
                    "message": "must not have an entry more than once",
                }
            ]
        return described

    def _validate(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value and not self.or_none:
            raise problems.refused("", expected="must have at least one entry")
        no_more_than(self.maximum, value)
        if self.distinct:
            _each_once(value)
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """Annotate a tuple of models with a `name`: how many there may be. No two have one name."""

    maximum: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            **handler(schema),
            "maxItems": self.maximum,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        }

    def _validate(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        no_more_than(self.maximum, value)
        _each_once([each.name for each in value])
        return value


# RFC 1123 as Kubernetes applies it: a label, and labels joined by dots.
LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
NAME_ADVICE: Final = "begin and end with a letter or digit"

ObjectName = Annotated[
    str,
    Text(
        noun="a valid name",
        advice=f'use lower-case letters, digits, "-" and ".", and {NAME_ADVICE}',
        pattern=rf"{LABEL}(?:\.{LABEL})*",
        maximum=253,
    ),
]
NamespaceName = Annotated[
    str,
    Text(
        noun="a valid namespace",
        advice=f'use lower-case letters, digits and "-", and {NAME_ADVICE}',
        pattern=LABEL,
        maximum=63,
    ),
]
ServiceName = Annotated[
    str,
    Text(
        noun="a valid name of a Service",
        advice=f'use lower-case letters, digits and "-", and {NAME_ADVICE}',
        pattern=LABEL,
        maximum=63,
    ),
]

# Keys and values of labels, as Kubernetes has them.
_QUALIFIED: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
LABEL_KEY: Final = rf"(?:{LABEL}(?:\.{LABEL})*/)?{_QUALIFIED}"
LONGEST_LABEL_KEY: Final = 253 + 1 + 63

LabelKey = Annotated[
    str,
    Text(
        noun="a valid key of a label",
        advice='write it like "example.com/team" or "team"',
        pattern=LABEL_KEY,
        maximum=LONGEST_LABEL_KEY,
    ),
]
LabelValue = Annotated[
    str,
    Text(
        noun="a valid value of a label",
        advice=f'use letters, digits, "-", "_" and ".", and {NAME_ADVICE}',
        pattern=f"(?:{_QUALIFIED})?",
        minimum=0,
        maximum=63,
    ),
]
DataKey = Annotated[
    str,
    Text(
        noun="a valid key",
        advice='use letters, digits, "-", "_" and "."',
        pattern=r"[-._a-zA-Z0-9]+",
        maximum=253,
    ),
]

# AMQP 0-9-1 §4.2.5.3: a short string has a length of one octet.
ShortString = Annotated[str, Text(noun="a short string", minimum=0, maximum=255)]
VirtualHostName = Annotated[str, Text(noun="a virtual host", maximum=255)]
LocaleName = Annotated[
    str,
    Text(
        noun="a locale",
        advice='write it like "en_US"',
        pattern=r"[A-Za-z0-9_.@-]+",
        maximum=255,
    ),
]

# Springline sets these itself; `information` is RabbitMQ's libraries' own.
RESERVED: Final = frozenset(
    {"capabilities", "connection_name", "information", "platform", "product", "version"}
)


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise problems.refused("", expected="is set by Springline; use another name")
    return name


PropertyName = Annotated[
    str, Text(noun="a property name", maximum=255), AfterValidator(_not_reserved)
]

HIGHEST_PORT: Final = 65535

Port = Annotated[int, Between(1, HIGHEST_PORT)]


class _NumberOrName:
    """Annotate the port of a Service: its number or its name, as Kubernetes' IntOrString."""

    _EXPECTED: Final = f"must be a port number between 1 and {HIGHEST_PORT}, or the name of a port"

    def __get_pydantic_core_schema__(
        self,
        source: Any,
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(
        self,
        schema: CoreSchema,
        handler: GetJsonSchemaHandler,
    ) -> dict[str, Any]:
        name = f"self.matches(r'^{LABEL}$') && self.matches('[a-z]') && size(self) <= 63"
        return {
            "x-kubernetes-int-or-string": True,
            "x-kubernetes-validations": [
                {
                    "rule": (f"type(self) == int ? self >= 1 && self <= {HIGHEST_PORT} : {name}"),
                    "message": self._EXPECTED,
                }
            ],
        }

    def _validate(self, value: object) -> int | str:
        match value:
            case bool():
                pass
            case int() if 1 <= value <= HIGHEST_PORT:
                return value
            case str() if value.isascii() and value.isdigit():
                complaint = "is no name of a port; write a number without quotes"
                raise problems.refused(complaint, expected=self._EXPECTED)
            case str() if (
                len(value) <= 63 and re.fullmatch(LABEL, value) and re.search("[a-z]", value)
            ):
                return value
        raise problems.refused("", expected=self._EXPECTED)


ServicePort = Annotated[int | str, _NumberOrName()]


class _Bytes:
    """Annotate a number of bytes, which can be written as a quantity of Kubernetes: 1Mi, 512Ki."""

    _SMALLEST: Final = 512
    _LARGEST: Final = 2**31 - 1
    _UNITS: Final = {"Gi": 2**30, "Mi": 2**20, "Ki": 2**10, "G": 10**9, "M": 10**6, "k": 10**3}
    _WRITTEN: Final = "[1-9][0-9]{0,9}(?:Ki|Mi|Gi|k|M|G)?"
    _EXPECTED: Final = (
        f"must be a number of bytes between {_SMALLEST} and {_LARGEST}, or a quantity such as 512Ki"
        " or 1Mi"
    )

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate, serialization=core_schema.plain_serializer_function_ser_schema(_bytes)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        quantity = (
            f"self.matches('^{self._WRITTEN}$') && quantity(self).compareTo("
            f"quantity('{self._SMALLEST}')) >= 0 && quantity(self).compareTo("
            f"quantity('{self._LARGEST}')) <= 0"
        )
        number = f"self >= {self._SMALLEST} && self <= {self._LARGEST}"
        return {
            "x-kubernetes-int-or-string": True,
            "x-kubernetes-validations": [
                {
                    "rule": f"type(self) == int ? {number} : {quantity}",
                    "message": self._EXPECTED,
                }
            ],
        }

    def _validate(self, value: object) -> int:
        match value:
            case bool():
                pass
            case int() if self._SMALLEST <= value <= self._LARGEST:
                return value
            case str() if re.fullmatch(self._WRITTEN, value):
                digits = value.rstrip("GMKki")
                size = int(digits) * self._UNITS.get(value.removeprefix(digits), 1)
                if self._SMALLEST <= size <= self._LARGEST:
                    return size
        raise problems.refused("", expected=self._EXPECTED)


def _bytes(value: int) -> int | str:
    """Write a number of bytes as a quantity, where it is whole in a unit of 1,024s."""
    for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return value


ByteCount = Annotated[int, _Bytes()]


_DOMAIN_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN: Final = rf"{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*\.?"


def _domain_name(value: str, *, port_beside: bool = False) -> str:
    """Accept a DNS name; underscores are allowed, as in the names of services."""
    expected = 'must be a host name such as "rabbit.example.com"'
    if "://" in value:
        raise problems.refused("is a URL; write only the host name", expected=expected)
    if "@" in value:
        raise problems.refused("", expected="must be a host name, without a user or password")
    name, colon, port = value.rpartition(":")
    if colon and ":" not in name and re.fullmatch(r"[0-9]{1,5}", port):
        advice = f"write {problems.quoted(name)} here and {port} under port"
        raise problems.refused(
            f"has a port; {advice if port_beside else 'write only the host name'}",
            expected="must be a host name, without a port",
        )
    if len(value) > 253 or not re.fullmatch(_DOMAIN, value):
        raise problems.refused("is not a host name", expected=expected)
    return value


def _host_name(value: str, *, port_beside: bool = False) -> str:
    """Accept an IP address or a DNS name."""
    if value.startswith("["):
        port = ", and the port under port" if port_beside else ""
        raise problems.refused(
            f"is not a host name; write an IPv6 address without brackets{port}",
            expected="must be a host name or an IP address, without brackets",
        )
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return _domain_name(value, port_beside=port_beside)
    return value


def is_host(text: str) -> bool:
    """Whether a text that was not declared, but read from somewhere, can name a host."""
    try:
        _host_name(text)
    except PydanticCustomError:
        return False
    return True


def _endpoint_host(value: str) -> str:
    return _host_name(value, port_beside=True)


def _service_name(value: str) -> str:
    name = _domain_name(value)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    raise problems.refused(
        "is an address, which has no SRV records", expected="must be the name of SRV records"
    )


# The same for the API server.
_CEL_DOMAIN: Final = f"self.matches(r'^{_DOMAIN}$')"


def _host_schema(rule: str, message: str) -> Any:
    return Field(
        json_schema_extra={
            "minLength": 1,
            "maxLength": 253,
            "x-kubernetes-validations": [{"rule": rule, "message": message}],
        }
    )


_HOST: Final = _host_schema(
    f"isIP(self) || {_CEL_DOMAIN}",
    "must be a host name or an IP address, without scheme, user and port",
)
_SERVICE: Final = _host_schema(
    f"!isIP(self) && {_CEL_DOMAIN}", "must be the name of SRV records, without scheme and port"
)

EndpointHost = Annotated[str, AfterValidator(_endpoint_host), _HOST]
HostName = Annotated[str, AfterValidator(_host_name), _HOST]
DomainName = Annotated[str, AfterValidator(_service_name), _SERVICE]

# OAuth 2 (RFC 6749 §3.3): printable ASCII without space, quotes and backslash.
Scope = Annotated[
    str,
    Text(
        noun="a scope",
        advice="write one scope an entry, without spaces and quotes",
        pattern=r"[!#-\[\]-~]+",
        maximum=255,
    ),
]
Audience = Annotated[
    str,
    Text(
        noun="an audience",
        advice="use printable ASCII without spaces",
        pattern=r"[!-~]+",
        maximum=255,
    ),
]
# Without a user, which would be shown wherever the URL is.
HttpsURL = Annotated[
    str,
    Text(
        noun="a URL",
        advice='write it like "https://login.example.com/token", without a user and fragment',
        pattern=r"https://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][!\"$-~]*)?",
        maximum=2048,
    ),
]
HttpStatus = Annotated[int, Between(200, 599)]
HttpBlockedStatus = Annotated[int, Between(201, 599)]  # 200 means that nothing is blocked
HttpPath = Annotated[
    str,
    Text(
        noun="a path",
        advice='write it like "/api/whoami?short=true", with what is no ASCII percent-encoded',
        pattern=r"/[!\"$-~]*",
        maximum=2048,
    ),
]
# AMQP 1.0 has strings of any length; these are kept, shown, and sent with every attach.
ContainerID = Annotated[str, Text(noun="a container id", maximum=255)]
LinkName = Annotated[str, Text(noun="a name of a link", maximum=255)]
NodeAddress = Annotated[str, Text(noun="an address", maximum=1024)]
FilterName = Annotated[  # a symbol, which is ASCII (AMQP 1.0 §1.6.21)
    str,
    Text(
        noun="a name of a filter",
        advice="use printable ASCII without spaces",
        pattern="[!-~]+",
        maximum=255,
    ),
]
FilterText = Annotated[str, Text(noun="a filter", minimum=0, maximum=2048)]
Percentage = Annotated[
    str,
    Text(noun="a percentage", advice='write it like "80%"', pattern="[1-9][0-9]?%", maximum=3),
]
