"""Where the operator's NetworkPolicy lets it go, address by address, as Kubernetes judges it."""

import ipaddress
from typing import Any

import pytest
import yaml

from support.chart import NAMESPACE, Helm, with_all
from support.chart_files import CHART
from support.chart_values import OWN_EGRESS
from support.markdown import Page

POD = "10.244.1.7"


def goes(helm: Helm, values: dict[str, Any], where: str, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is let out; `POD` is that of another namespace."""
    policy = helm.objects(with_all([OWN_EGRESS, values]))["NetworkPolicy/springline"]["spec"]
    return any(
        _matches_port(rule, port, protocol) and _matches_peer(rule, where)
        for rule in policy["egress"]
    )


def _matches_port(rule: dict[str, Any], port: int, protocol: str) -> bool:
    return any(
        each["protocol"] == protocol and each.get("port", port) == port for each in rule["ports"]
    )


def _matches_peer(rule: dict[str, Any], where: str) -> bool:
    return "to" not in rule or any(_is(peer, where) for peer in rule["to"])


def _is(peer: dict[str, Any], where: str) -> bool:
    if "ipBlock" not in peer:
        assert peer == {"namespaceSelector": {}}
        return where == POD
    address = ipaddress.ip_address(where)
    block = peer["ipBlock"]
    excepted = [ipaddress.ip_network(each) for each in block.get("except", ())]
    # An API server refuses others.
    assert all(each.subnet_of(ipaddress.ip_network(block["cidr"])) for each in excepted)  # type: ignore[arg-type]
    # Some network plugins find no Pod in a block, and so does this.
    inside = where != POD and address in ipaddress.ip_network(block["cidr"])
    return inside and not any(address in each for each in excepted)


@pytest.mark.parametrize(
    ("where", "port"),
    [
        pytest.param("203.0.113.7", 5671, id="a broker somewhere"),
        pytest.param("2001:db8::7", 5671, id="a broker somewhere with IPv6"),
        pytest.param(POD, 5672, id="a broker in a Pod"),
        pytest.param("10.0.0.1", 6443, id="an API server"),
        pytest.param("169.254.20.10", 53, id="a node's own DNS"),
    ],
)
def test_brokers_the_api_server_and_dns_are_reached(helm4: Helm, where: str, port: int) -> None:
    """Without anything to set."""
    assert goes(helm4, {}, where, port)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("169.254.169.254", id="a cloud's metadata"),
        pytest.param("169.254.170.23", id="a cloud's credentials for Pods"),
        pytest.param("168.63.129.16", id="Azure"),
        pytest.param("100.100.100.200", id="Alibaba Cloud"),
        pytest.param("fd00:ec2::254", id="AWS with IPv6"),
        pytest.param("fd20:ce::254", id="Google Cloud with IPv6"),
        pytest.param("fe80::1", id="a neighbour"),
    ],
)
def test_no_broker_is_where_a_cloud_hands_out_credentials(helm4: Helm, where: str) -> None:
    """Those who may declare a broker choose where the operator connects to, and read its answer."""
    for port in (80, 5672):
        assert not goes(helm4, {}, where, port)
        assert goes(helm4, {"networkPolicy": {"egressExcept": []}}, where, port)


def test_only_tcp_goes_anywhere_but_to_dns(helm4: Helm) -> None:
    """Names are looked up with UDP, too."""
    assert goes(helm4, {}, "203.0.113.7", 53, "UDP")
    assert not goes(helm4, {}, "203.0.113.7", 5672, "UDP")


def test_rules_of_ones_own_stand_alone(helm4: Helm) -> None:
    """They are not widened by the API server's ports."""
    rules = [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"protocol": "TCP"}]}]
    values: dict[str, Any] = {"networkPolicy": {"egress": rules}}
    assert goes(helm4, values, "10.0.0.1", 6443)
    assert not goes(helm4, values, "203.0.113.7", 6443)
    assert not goes(helm4, values, POD, 5672)
    values = {"networkPolicy": {"egress": []}}
    assert not goes(helm4, values, "10.0.0.1", 6443)
    assert goes(helm4, values, "10.0.0.1", 53)


def test_the_policy_for_cilium_is_as_the_readme_has_it(helm4: Helm) -> None:
    """Its values can be copied as they are; it is for the same Pod."""
    blocks = [each.text for each in Page(CHART / "README.md").blocks if each.language == "yaml"]
    [values] = [yaml.safe_load(each) for each in blocks if "cilium.io" in each]
    objects = helm4.objects(values)
    policy = objects["CiliumNetworkPolicy/springline-nodes"]
    assert policy["metadata"]["namespace"] == NAMESPACE
    assert (
        policy["spec"]["endpointSelector"]
        == (objects["NetworkPolicy/springline"]["spec"]["podSelector"])
    )


def test_the_api_servers_ports_can_be_closed(helm4: Helm) -> None:
    """Where a block of addresses covers it."""
    values: dict[str, Any] = {"networkPolicy": {"apiServerPorts": []}}
    assert not goes(helm4, values, "169.254.169.254", 443)
    assert goes(helm4, values, "10.0.0.1", 443)
