"""What kopf has to be told of an API server before it watches our kinds; for `fake_apiserver`."""

from typing import Any

from aiohttp import web

from support.fake_apiserver import Asked, Deed

__all__ = ["DISCOVERY", "discovering", "saying"]


def _resources(*plurals: str) -> dict[str, Any]:
    return {
        "resources": [
            {
                "name": plural,
                "singularName": plural.removesuffix("s"),
                "kind": plural.removesuffix("s").capitalize(),
                "namespaced": plural != "namespaces",
                "verbs": ["create", "get", "list", "patch", "watch"],
            }
            for plural in plurals
        ]
    }


DISCOVERY: dict[str, Any] = {
    "/api": {"versions": ["v1"]},
    "/apis": {
        "groups": [
            {
                "name": name,
                "versions": [{"version": version}],
                "preferredVersion": {"version": version},
            }
            for name, version in (("springline.dev", "v1alpha1"), ("apiextensions.k8s.io", "v1"))
        ]
    },
    "/api/v1": _resources("events", "namespaces"),
    "/apis/apiextensions.k8s.io/v1": _resources("customresourcedefinitions"),
    "/apis/springline.dev/v1alpha1": _resources("brokers", "brokerconnections"),
}


def discovering(asked: Asked) -> Deed | None:
    """Say what the API server serves, and take in Events."""
    if asked.path in DISCOVERY:
        return saying(DISCOVERY[asked.path])
    if asked.method == "POST" and asked.path.endswith("/events"):
        return saying({}, status=201)
    return None


def saying(body: object, *, status: int = 200) -> Deed:
    """Answer JSON that says that it is JSON; kopf insists."""

    async def deed(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return deed
