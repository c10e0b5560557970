"""Which addresses may be connected to."""

import ipaddress

import pytest

from springline.core.addresses import LOOPBACK, AddressPolicy
from springline.errors import RejectedError
from springline.reasons import Reason

REFUSED = {
    "loopback": ["127.0.0.1", "127.1.2.3", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "link-local": ["169.254.0.1", "169.254.20.10", "fe80::1", "fe80::1%eth0"],
    "multicast": ["224.0.0.1", "239.1.2.3", "ff02::1"],
    "broadcast": ["255.255.255.255"],
    "metadata": [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
}

WRITTEN_OTHERWISE = [
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:ffff::a9fe:a9fe",
    "::ffff:0:169.254.169.254",
    "::ffff:127.0.0.1%eth0",
    "2002:a9fe:a9fe::1",
]

BROKERS = ["10.0.0.1", "172.16.5.4", "192.168.1.1", "192.0.2.1", "fd12:3456::1", "2001:db8::1"]


def refusal(policy: AddressPolicy, address: str, host: str = "rabbit.example") -> str:
    with pytest.raises(RejectedError) as caught:
        policy.permitted(host, [address])
    assert caught.value.reason is Reason.ADDRESS_NOT_ALLOWED
    return caught.value.message


@pytest.mark.parametrize(
    ("what", "address"),
    [(what, address) for what, addresses in REFUSED.items() for address in addresses],
)
def test_where_no_broker_is_nothing_is_connected_to(what: str, address: str) -> None:
    message = refusal(AddressPolicy(), address)
    assert message.startswith(f'the address of "rabbit.example", {address}, is a')
    assert what in message
    assert "--allow-addresses" in message


@pytest.mark.parametrize("address", WRITTEN_OTHERWISE)
def test_an_ipv4_address_inside_of_an_ipv6_address_is_the_same(address: str) -> None:
    assert refusal(AddressPolicy(), address)


@pytest.mark.parametrize("address", BROKERS)
def test_other_addresses_may_be_connected_to(address: str) -> None:
    """Private ones too: brokers in a cluster have no others."""
    assert AddressPolicy().permitted("rabbit.example", [address]) == [address]


def test_an_address_that_is_declared_itself_is_named_once() -> None:
    message = refusal(AddressPolicy(), "127.0.0.1", host="127.0.0.1")
    assert message.startswith("127.0.0.1 is a loopback address, which")


def test_of_several_addresses_those_that_may_be_connected_to_are_left() -> None:
    found = ["169.254.169.254", "192.0.2.1", "::1", "192.0.2.2"]
    assert AddressPolicy().permitted("rabbit.example", found) == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_what_an_administrator_allows_may_be_connected_to(address: str) -> None:
    policy = AddressPolicy(LOOPBACK)
    assert policy.permitted("localhost", [address]) == [address]
    assert refusal(policy, "169.254.169.254")


def test_one_address_can_be_allowed() -> None:
    policy = AddressPolicy([ipaddress.ip_network("169.254.1.1")])
    assert policy.permitted("rabbit.example", ["169.254.1.1"]) == ["169.254.1.1"]
    assert refusal(policy, "169.254.1.2")


def test_the_api_server_is_no_broker() -> None:
    """Its addresses are asked for each time, because they change."""
    known = ["10.96.0.1"]
    policy = AddressPolicy(api_server=lambda: known)
    assert "of the Kubernetes API server" in refusal(policy, "10.96.0.1")
    assert "of the Kubernetes API server" in refusal(policy, "::ffff:10.96.0.1")
    known[:] = ["10.96.0.2"]
    assert policy.permitted("rabbit.example", ["10.96.0.1"]) == ["10.96.0.1"]


def test_an_api_server_at_an_address_that_is_allowed_is_allowed() -> None:
    policy = AddressPolicy([ipaddress.ip_network("10.0.0.0/8")], api_server=lambda: ["10.96.0.1"])
    assert policy.permitted("rabbit.example", ["10.96.0.1"]) == ["10.96.0.1"]
