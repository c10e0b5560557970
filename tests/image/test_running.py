"""What runs in a container of the image, as the chart runs it: no root, nothing can be written."""

import json

import pytest

from springline import __version__
from support.images import Images

_MANIFESTS = """
apiVersion: springline.dev/v1alpha1
kind: Broker
metadata: {name: closed}
spec:
  endpoints: [{host: 127.0.0.1, port: 1}]
  sasl: {allowInsecure: true}
---
apiVersion: springline.dev/v1alpha1
kind: Broker
metadata: {name: unknown}
spec:
  endpointsFrom: {dnsSRV: _amqp._tcp.rabbit.invalid}
  sasl: {allowInsecure: true}
---
apiVersion: v1
kind: Secret
metadata: {name: user}
stringData: {username: orders, password: secret}
---
apiVersion: v1
kind: Secret
metadata: {name: client}
stringData: {client-id: orders, client-secret: secret}
---
apiVersion: springline.dev/v1alpha1
kind: BrokerConnection
metadata: {name: closed}
spec:
  brokerRef: {name: closed}
  virtualHost: /
  credentials: {secretRef: {name: user}}
---
apiVersion: springline.dev/v1alpha1
kind: BrokerConnection
metadata: {name: srv}
spec:
  brokerRef: {name: unknown}
  virtualHost: /
  credentials: {secretRef: {name: user}}
---
apiVersion: springline.dev/v1alpha1
kind: BrokerConnection
metadata: {name: oauth2}
spec:
  brokerRef: {name: closed}
  virtualHost: /
  credentials:
    oauth2:
      tokenURL: https://127.0.0.1:1/token
      clientRef: {name: client}
"""


@pytest.mark.parametrize("user", ["", "12345:0"], ids=["its own user", "any other user"])
@pytest.mark.parametrize(
    "command", ["springline", "kubectl-springline", "kubectl_complete-springline"]
)
def test_each_command_starts(builder: Images, image: str, command: str, user: str) -> None:
    """Without an entry in /etc/passwd for the user."""
    options = ["--user", user] if user else []
    arguments = () if "complete" in command else ("--version",)
    done = builder.run(image, *arguments, entrypoint=command, options=options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if arguments:
        assert __version__ in done.stdout


def test_it_is_not_run_by_root(builder: Images, image: str) -> None:
    """Where nothing else is said, as by `podman run`."""
    assert builder.run(image, "-u", entrypoint="id").stdout.strip() == "65532"


def test_standalone_mode_works(builder: Images, image: str) -> None:
    """Also what is imported only when it is needed: SRV records and OAuth 2."""
    done = builder.run(image, "check", "-f", "-", "--output", "json", given=_MANIFESTS)
    assert done.returncode == 1, done.stderr
    reasons = {
        item["metadata"]["name"]: _reason(item)
        for item in json.loads(done.stdout)["items"]
        if item["kind"] == "BrokerConnection"
    }
    assert reasons == {
        "closed": "ConnectionRefused",
        "srv": "NameResolutionFailed",
        "oauth2": "TokenRequestFailed",
    }


def _reason(item: dict[str, object]) -> str:
    status = item["status"]
    assert isinstance(status, dict)
    [ready] = [each for each in status["conditions"] if each["type"] == "Ready"]
    return str(ready["reason"])


def test_the_operator_says_that_there_is_no_cluster(builder: Images, image: str) -> None:
    """It has all that it needs to find that out."""
    done = builder.run(image, "operator")
    assert done.returncode == 2, done.stderr
    assert "there is no cluster to talk to" in done.stderr
