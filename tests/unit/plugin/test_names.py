"""How connections are named, and that what is printed can be given back."""

import pytest

from springline.plugin import names
from springline.plugin.choices import Choice
from springline.plugin.cluster import Target
from springline.plugin.errors import Exit, PluginError
from springline.plugin.names import Named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("orders", Named("orders")),
        ("orders.v2", Named("orders.v2")),
        ("brokerconnection/orders", Named("orders")),
        ("brokerconnections/orders", Named("orders")),
        ("bconn/orders", Named("orders")),
        ("BrokerConnection/orders", Named("orders")),
        ("brokerconnection.springline.dev/orders", Named("orders")),
        ("brokerconnections.springline.dev/orders", Named("orders")),
        ("brokerconnections.v1alpha1.springline.dev/orders", Named("orders")),
        ("brokerconnection.springline.dev/shop/orders", Named("orders", "shop")),
        ("bconn/shop/orders", Named("orders", "shop")),
    ],
)
def test_names_are_taken_as_kubectl_takes_them(text: str, named: Named) -> None:
    """By kind, singular, plural and short name, with or without the group; and with a namespace."""
    assert names.parse(text) == named


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("broker/rabbit", "only a BrokerConnection has a session"),
        ("clusterbrokers.springline.dev/rabbit", "only a BrokerConnection has a session"),
        ("shop/orders", "write brokerconnection.springline.dev/shop/orders"),
        ("brokerconection/orders", "did you mean brokerconnection?"),
        ("bconn/a/b/c", "TYPE/NAMESPACE/NAME"),
        ("bconn/", "the name is missing"),
        ("", "the name is missing"),
        ("orders/", "the name is missing"),
        ("/orders", "the type is missing"),
        ("Orders", "cannot be a name"),
        ("../orders", 'there is no type ".."'),
        ("bconn/../orders", "cannot be the name of a namespace"),
        ("bconn/shop.a/orders", "cannot be the name of a namespace"),
        ("orders?watch=true", "cannot be a name"),
    ],
)
def test_what_is_no_name_is_said(text: str, words: str) -> None:
    with pytest.raises(PluginError) as caught:
        names.parse(text)
    assert words in str(caught.value)
    assert caught.value.code is Exit.UNUSABLE


@pytest.mark.parametrize("namespace", ["", "shop"])
def test_what_is_written_is_read_again(namespace: str) -> None:
    text = names.written("orders", namespace)
    assert names.parse(text) == Named("orders", namespace)
    assert len(text.split()) == 1, "for xargs"


def checked(*given: str, target: Target) -> tuple[Named, ...]:
    return Choice(names=given).checked(target, one_is_needed=True).named


def test_names_with_their_namespaces_are_taken_from_everywhere() -> None:
    everywhere = Target(all_namespaces=True)
    assert checked("bconn/shop/a", "bconn/b/a", target=everywhere) == (
        Named("a", "shop"),
        Named("a", "b"),
    )
    with pytest.raises(PluginError, match="in one namespace"):
        checked("bconn/shop/a", "b", target=everywhere)


def test_name_of_another_namespace_than_was_asked_for_is_refused() -> None:
    """One of both is a mistake, and something would be done to the wrong connection."""
    assert checked("bconn/shop/a", target=Target(namespace="shop")) == (Named("a", "shop"),)
    with pytest.raises(PluginError, match="another namespace than --namespace shop"):
        checked("bconn/b/a", target=Target(namespace="shop"))


def test_a_name_twice_is_one() -> None:
    assert checked("a", "bconn/a", target=Target()) == (Named("a"),)
