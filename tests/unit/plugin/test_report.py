"""A report: all that helps, nothing that is secret, and what is missing is named."""

import asyncio
import base64
import json
import stat
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from springline.plugin import commands, masking, report
from springline.plugin.bundle import Bundle
from springline.plugin.choices import Choice
from springline.plugin.cluster import Target
from springline.plugin.errors import Exit, PluginError
from springline.plugin.masking import Mask
from support import fake_apiserver, leaks
from support.fake_apiserver import Asked, Deed, FakeAPIServer, answering, hanging, refusing

PLANTED = "pl4nted/s3cret+väl&ue"
OTHERS = ("0ther-in-uri", "0ther-by-name", "0ther-bearer-t0ken", "0ther-private-key-b0dy")
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwdGhlci1qd3QifQ.c2lnbmF0dXJl"
ENCODED = base64.b64encode(PLANTED.encode()).decode()
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

NOTES = {
    "team": PLANTED,
    LAST_APPLIED: json.dumps({"stringData": {"password": PLANTED}}),
    "springline.dev/reconnect-requested-at": "2026-11-26T00:00:00Z",
}
METADATA: dict[str, Any] = {
    "annotations": NOTES,
    "managedFields": [{"manager": PLANTED}],
}
LOG = "\n".join(
    [
        "the first line",
        f'{{"message": "refused", "detail": "{PLANTED}"}}',
        json.dumps({"detail": PLANTED}),
        f"in base64 {ENCODED}, in a URL {quote(PLANTED, safe='')}, cut {PLANTED[:14]}",
        f"inside {base64.b64encode(b'user:' + PLANTED.encode()).decode()}",
        f"amqp://orders:{OTHERS[0]}@rabbit/ failed",
        f"password={OTHERS[1]} and 'client_secret': '{OTHERS[1]}'",
        f"Authorization: Bearer {OTHERS[2]}",
        f"got {JWT}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{OTHERS[3]}\n-----END RSA PRIVATE KEY-----",
        "the last line",
    ]
)
POD = {
    "metadata": {"name": "springline-0", "namespace": "springline-system", **METADATA},
    "spec": {
        "serviceAccountName": "springline",
        "containers": [
            {
                "name": "springline",
                "image": "example.com/springline:0.1.0",
                "args": ["operator", "--log-level=info"],
                "env": [
                    {"name": "HTTPS_PROXY", "value": f"http://a:{OTHERS[0]}@proxy"},
                    {"name": "PLANTED", "value": PLANTED},
                ],
                "ports": [{"name": "http", "containerPort": 8080}],
            },
            {"name": "beside", "image": "beside", "args": ["--password", OTHERS[1]]},
        ],
    },
    "status": {"containerStatuses": [{"name": "springline", "restartCount": 1}]},
}
CONNECTION_SPEC = {
    "brokerRef": {"name": "rabbit"},
    "credentials": {
        "oauth2": {
            "tokenURL": f"https://a:{OTHERS[0]}@idp.example/token",
            "clientRef": {"name": "orders"},
            "caRef": {"name": "authority"},
        }
    },
    "clientProperties": {"note": PLANTED},
    "binding": {"secretName": "orders-binding"},
}
CONNECTION_STATUS = {
    "state": "Waiting",
    "holder": "springline-system/springline-0",
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "AuthenticationFailed",
            "message": f"the broker said: no {PLANTED}",
        }
    ],
}
EVENT = {
    "metadata": {"name": "orders.1", "namespace": "shop"},
    "involvedObject": {"kind": "BrokerConnection", "name": "orders", "namespace": "shop"},
    "reason": "Failed",
    "message": f"the broker echoed {quote(PLANTED, safe='')}",
}


def secret(name: str, **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {
        "metadata": {"name": name, "namespace": "shop", **METADATA},
        "type": "Opaque",
        "data": encoded,
    }


def listed(*items: Any) -> Deed:
    return answering(json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}))


SHOP = "/api/v1/namespaces/shop"
OPERATOR = "/api/v1/namespaces/springline-system"
ANSWERS: dict[str, Deed] = {
    f"{SHOP}/secrets/orders": answering(
        json.dumps(secret("orders", **{"client-id": "orders-client", "client-secret": PLANTED}))
    ),
    f"{SHOP}/secrets/orders-binding": answering(json.dumps(secret("orders-binding", uri=PLANTED))),
    f"{SHOP}/configmaps/authority": answering(
        json.dumps({"metadata": {"name": "authority", "namespace": "shop"}, "data": {"a": PLANTED}})
    ),
    f"{SHOP}/events": listed(EVENT),
    "/api/v1/pods": listed(POD),
    f"{OPERATOR}/events": listed(),
    f"{OPERATOR}/pods/springline-0:8080/proxy/metrics": answering(
        f'springline_up{{note="{PLANTED}"}} 1\n'
    ),
    "/apis/apps/v1/namespaces/springline-system/deployments": listed(
        {
            "metadata": {"name": "springline", "namespace": "springline-system", **METADATA},
            "spec": {"replicas": 1, "template": {"spec": POD["spec"]}},
        }
    ),
    "/apis/coordination.k8s.io/v1/namespaces/springline-system/leases": listed(
        {"metadata": {"name": "springline-0", **METADATA}, "spec": {"holderIdentity": "x"}}
    ),
    "/version": answering(json.dumps({"gitVersion": "v1.34.0"})),
    **{
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.springline.dev": (
            answering(
                json.dumps(
                    {
                        "metadata": {"name": f"{plural}.springline.dev", **METADATA},
                        "spec": {"versions": [{"name": "v1alpha1", "served": True}]},
                    }
                )
            )
        )
        for plural in ("brokerconnections", "brokers", "clusterbrokers")
    },
}


def answered(asked: Asked) -> Deed | None:
    if asked.path.endswith("/log"):
        which = "before" if asked.query.get("previous") else "now"
        return answering(f"{which} {asked.query['container']}\n{LOG}\n")
    return ANSWERS.get(asked.path)


@pytest.fixture
async def server() -> AsyncIterator[FakeAPIServer]:
    """An API server with a connection, what it names, and an operator; secrets are everywhere."""
    async with leaks.checked(), fake_apiserver.serving() as server:
        server.put(
            "brokerconnections",
            "shop",
            "orders",
            spec=CONNECTION_SPEC,
            status=CONNECTION_STATUS,
            metadata={"name": "orders", "namespace": "shop", **METADATA},
        )
        server.put("brokers", "shop", "rabbit", spec={"endpoints": [{"host": "rabbit"}]})
        server.instead = answered
        yield server


async def reported(
    server: FakeAPIServer,
    tmp_path: Path,
    path: Path,
    *names: str,
    limit: float = 60.0,
    **target: Any,
) -> Exit:
    kubeconfig = fake_apiserver.kubeconfig(server, tmp_path, token="planted-login-token")
    return await commands.report(
        Target(kubeconfig=str(kubeconfig), namespace="shop", **target),
        Choice(names=names),
        path,
        limit=limit,
        since=3600,
        operator_namespace=None,
    )


def files_of(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        root = path.name.removesuffix(".tar.gz")
        found = {}
        for entry in archive.getmembers():
            assert entry.name.startswith(f"{root}/")
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name.removeprefix(f"{root}/")] = file.read().decode()
        return found


def forms(planted: str) -> Iterator[str]:
    """How a secret may be written; a half of it is one, too."""
    encoded = base64.b64encode(planted.encode()).decode()
    for form in (planted, quote(planted, safe=""), json.dumps(planted)[1:-1], encoded.rstrip("=")):
        yield from (form, form[:12], form[-12:])


async def test_nothing_secret_is_in_it(server: FakeAPIServer, tmp_path: Path) -> None:
    """Wherever it was: values, annotations, the last apply, the environment, logs, metrics."""
    path = tmp_path / "report.tar.gz"
    await reported(server, tmp_path, path)
    files = files_of(path)
    for name, text in files.items():
        for other in (*OTHERS, JWT, "planted-login-token", "managedFields", "last-applied"):
            if not (name == "README.txt" and other == "managedFields"):
                assert other not in text, name
        for form in forms(PLANTED):
            assert form not in text, f"{form} in {name}"
        assert base64.b64encode(b"user:" + PLANTED.encode()).decode()[8:20] not in text, name


async def test_everything_that_helps_is_in_it(
    server: FakeAPIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.tar.gz"
    await reported(server, tmp_path, path)
    out, err = capsys.readouterr()
    assert out == f"{path}\n"
    assert "connections: 1\n" in err
    assert "not read" not in err
    files = files_of(path)
    assert files["missing.txt"] == "nothing\n"
    for container in ("springline", "beside"):
        log = files[f"operator/logs/springline-system.springline-0.{container}.log"]
        assert log.startswith(f"now {container}\nthe first line\n")
        assert log.endswith("the last line\n")
    before = files["operator/logs/springline-system.springline-0.springline.previous.log"]
    assert before.startswith("before springline\n")
    assert "springline_up" in files["operator/metrics/springline-system.springline-0.txt"]
    [connection] = json.loads(files["objects/brokerconnections.json"])
    assert connection["spec"]["brokerRef"] == {"name": "rabbit"}
    assert connection["spec"]["clientProperties"] == {"note": f"({len(PLANTED)} characters)"}
    assert (
        connection["spec"]["credentials"]["oauth2"]["tokenURL"] == "https://***@idp.example/token"
    )
    assert connection["metadata"]["annotations"] == {
        "team": f"({len(PLANTED)} characters)",
        "springline.dev/reconnect-requested-at": "2026-11-26T00:00:00Z",
    }
    assert len(json.loads(files["objects/brokers.json"])) == 1
    named = {each["name"]: each for each in json.loads(files["secrets.json"])}
    assert named["orders"]["bytesByKey"] == {
        "client-id": len("orders-client"),
        "client-secret": len(PLANTED.encode()),
    }
    assert (named["orders"]["kind"], named["orders"]["type"]) == ("Secret", "Opaque")
    assert named["authority"]["bytesByKey"] == {"a": len(PLANTED.encode())}
    assert "orders-binding" in named
    [pod] = json.loads(files["operator/pods.json"])
    assert pod["spec"]["containers"][0]["args"] == ["operator", "--log-level=info"]
    assert pod["spec"]["containers"][0]["image"] == "example.com/springline:0.1.0"
    assert [each["name"] for each in pod["spec"]["containers"][0]["env"]] == [
        "HTTPS_PROXY",
        "PLANTED",
    ]
    assert len(json.loads(files["operator/deployments.json"])) == 1
    assert len(json.loads(files["operator/leases.json"])) == 1
    [event] = json.loads(files["events.json"])[:1]
    assert event["reason"] == "Failed"
    versions = json.loads(files["versions.json"])
    assert versions["kubernetes"]["gitVersion"] == "v1.34.0"
    assert len(versions["definitions"]) == 3
    assert "AuthenticationFailed" in files["connections.txt"]


async def test_what_may_not_be_read_is_told_and_the_rest_is_there(
    server: FakeAPIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    denied = ("secrets", "/log", "leases", "/metrics", "customresourcedefinitions")

    def some(asked: Asked) -> Deed | None:
        if any(part in asked.path for part in denied):
            return refusing(403, "Forbidden", f'User "ann" cannot, says {PLANTED}')
        return answered(asked)

    server.instead = some
    path = tmp_path / "report.tar.gz"
    await reported(server, tmp_path, path)
    files, err = files_of(path), capsys.readouterr().err
    for problem in (
        "Secret/shop/orders: you may not get secrets in namespace shop",
        "log of springline-0, springline: you may not get pods/log in namespace springline-system",
        "leases: you may not list leases in namespace springline-system",
        "metrics of springline-0: you may not get pods/proxy in namespace springline-system",
        "definition of brokers: you may not get customresourcedefinitions",
    ):
        assert f"{problem}\n" in files["missing.txt"]
        assert f"not read: {problem}\n" in err
    assert "Some of these Secrets could not be read" in files["README.txt"]
    assert len(json.loads(files["objects/brokerconnections.json"])) == 1
    assert "thing(s) could not be read" in err


async def test_time_is_bounded(
    server: FakeAPIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not come in time is missing, and what came is there."""

    def slow(asked: Asked) -> Deed | None:
        return hanging if asked.path == "/api/v1/pods" else answered(asked)

    server.instead = slow
    path = tmp_path / "report.tar.gz"
    await reported(server, tmp_path, path, limit=1.0)
    files = files_of(path)
    assert "pods of the operator: the time is over\n" in files["missing.txt"]
    assert len(json.loads(files["objects/brokerconnections.json"])) == 1
    assert "not read: pods of the operator: the time is over" in capsys.readouterr().err


async def test_size_is_bounded(
    server: FakeAPIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a log its end is kept, and what has no room is named."""
    monkeypatch.setattr(report, "_LOG_BYTES", 40)
    path = tmp_path / "report.tar.gz"
    await reported(server, tmp_path, path)
    log = files_of(path)["operator/logs/springline-system.springline-0.springline.log"]
    assert len(log) <= 40
    assert log.endswith("the last line\n")
    monkeypatch.setattr(report, "MOST_BYTES", 2000)
    path = tmp_path / "small.tar.gz"
    await reported(server, tmp_path, path)
    files = files_of(path)
    assert "would be larger than" in files["missing.txt"]
    assert sum(map(len, files.values())) < 6000


async def test_nothing_is_overwritten(server: FakeAPIServer, tmp_path: Path) -> None:
    """Neither a file nor a directory, nor what a link leads to; and nothing is asked before."""
    file, directory, link = (tmp_path / name for name in ("a.tar.gz", "b", "c.tar.gz"))
    file.write_text("mine")
    directory.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    for path in (file, directory, link):
        with pytest.raises(PluginError, match="is there already") as caught:
            await reported(server, tmp_path, path)
        assert caught.value.code is Exit.UNUSABLE
    with pytest.raises(PluginError, match="there is no directory"):
        await reported(server, tmp_path, tmp_path / "no" / "such.tar.gz")
    assert server.asked == []
    assert file.read_text() == "mine"


async def test_directory_is_written_as_well(server: FakeAPIServer, tmp_path: Path) -> None:
    """Only for whoever made it, as the archive."""
    directory, archive = tmp_path / "report", tmp_path / "report.tar.gz"
    await reported(server, tmp_path, directory)
    await reported(server, tmp_path, archive)
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert files == set(files_of(archive))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in (archive, directory / "README.txt"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_cluster_that_is_not_there_leaves_no_file(
    server: FakeAPIServer, tmp_path: Path
) -> None:
    await server.stop()
    path = tmp_path / "report.tar.gz"
    with pytest.raises(PluginError) as caught:
        await reported(server, tmp_path, path)
    assert caught.value.code is Exit.CLUSTER
    assert not path.exists()


async def test_name_that_is_not_there_is_told_by_the_exit_code(
    server: FakeAPIServer, tmp_path: Path
) -> None:
    """As for the other commands; the rest is in it."""
    path = tmp_path / "report.tar.gz"
    assert await reported(server, tmp_path, path, "no-such-connection") is Exit.UNUSABLE
    assert "no-such-connection" in files_of(path)["missing.txt"]


@pytest.mark.parametrize("name", ["report.tar.gz", "report"])
async def test_report_that_is_broken_off_leaves_no_half_of_it(
    server: FakeAPIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Ctrl-C comes while it is being written."""
    loop, begun, goes_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    wanted = Bundle._wanted

    def slow(self: Bundle) -> Iterator[tuple[str, bytes]]:
        for number, each in enumerate(wanted(self)):
            yield each
            if number == 1:
                loop.call_soon_threadsafe(begun.set)
                goes_on.wait()

    monkeypatch.setattr(Bundle, "_wanted", slow)
    path = tmp_path / "reports" / name
    path.parent.mkdir()
    reporting = asyncio.create_task(reported(server, tmp_path, path))
    await begun.wait()
    assert path.exists()
    reporting.cancel()
    loop.call_later(0.1, goes_on.set)
    with pytest.raises(asyncio.CancelledError):
        await reporting
    assert list(path.parent.iterdir()) == []


def test_directory_that_cannot_be_written_leaves_no_half_of_it(tmp_path: Path) -> None:
    bundle = Bundle(Mask(), most_bytes=1000)
    bundle.add("a", "a")
    bundle.add("a/b", "not below a file")
    with pytest.raises(PluginError, match="cannot be written"):
        bundle.write(tmp_path / "report", at=0.0)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle(Mask(), most_bytes=1000)
    bundle.add("a.txt", "a")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    path = tmp_path / "report.tar.gz"
    with pytest.raises(PluginError, match="No space left"):
        bundle.write(path, at=0.0)
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_long_log_is_masked_in_bearable_time() -> None:
    """However many secrets there are: each place is looked at a few times, not once for each."""
    mask = Mask()
    for number in range(2000):
        mask.learn("password", f"s3cret-number-{number:06}-of-many".encode())
    text = "nothing secret is in this line of a log\n" * 5000
    assert mask.text(text) == text
    assert mask.text("a s3cret-number-001234-of-many b") == "a *** b"


@pytest.mark.parametrize(
    "secret", ["8-chars!", "9-chars!!", "eleven-char", "a-longer-s3cret-of-24-ch"]
)
def test_secret_is_found_wherever_it_begins(secret: str) -> None:
    mask = Mask()
    mask.learn("password", secret.encode())
    part = secret[-12:]
    for before in range(30):
        assert mask.text("." * before + secret) == "." * before + "***"
        assert mask.text("." * before + part + "x" * before) == "." * before + "***" + "x" * before


def test_annotation_that_is_too_long_for_one_of_ours_is_left_out() -> None:
    notes = {"springline.dev/reconnect-requested-at": "now", "springline.dev/note": "x" * 200_000}
    kept = masking.own_object({"metadata": {"annotations": notes}})["metadata"]["annotations"]
    assert kept == {
        "springline.dev/reconnect-requested-at": "now",
        "springline.dev/note": "(200000 characters)",
    }


@pytest.mark.parametrize("hostile", ["://x", "://x:", "-eyJaaaaaa", "-----BEGIN ", "password "])
def test_no_text_takes_the_masking_for_ever(hostile: str) -> None:
    """Whoever may annotate a connection must not keep those busy who look for a fault."""
    times = []
    for size in (64, 256):
        began = time.process_time()
        Mask().text(hostile * (size * 1024 // len(hostile)))
        times.append(time.process_time() - began)
    few, many = times
    assert many < 8 * max(few, 0.1), "four times the text takes four times as long, not sixteen"


@pytest.mark.parametrize(
    ("key", "value", "text", "masked"),
    [
        ("password", b"longer-than-12-chars", "is longer-than-12-chars.", "is ***."),
        ("password", b"ten-chars!", "is ten-chars!.", "is ***."),
        ("password", b"guest", "user guest", "user guest"),
        ("username", b"orders-service", "as orders-service", "as orders-service"),
        (
            "ca.crt",
            b"-----BEGIN CERTIFICATE-----\nMIIB0123456789",
            "MIIB0123456789",
            "MIIB0123456789",
        ),
        (
            "uri",
            b"amqp://orders:p%40ss-w0rd-1@rabbit.example.com:5671/orders",
            "p@ss-w0rd-1 or p%40ss-w0rd-1",
            "*** or ***",
        ),
        (
            "uri",
            b"amqp://orders:p%40ss-w0rd-1@rabbit.example.com:5671/orders",
            "rabbit.example.com:5671 as orders",
            "rabbit.example.com:5671 as orders",
        ),
        ("hook", b"https://hooks.example/T0123456789/abc", "/T0123456789/abc", "***"),
    ],
    ids=["long", "short", "too short", "a user", "a certificate", "a URI", "its host", "a hook"],
)
def test_what_stands_in_a_secret_is_masked(key: str, value: bytes, text: str, masked: str) -> None:
    """But for names, which a status has to show, and what may be a part of any word."""
    mask = Mask()
    mask.learn(key, value)
    assert mask.text(text) == masked
    assert value.decode() not in repr(mask)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("amqp://u:p@h/v", "amqp://***@h/v"),
        ("amqp://u:p/a@ss@h/v", "amqp://***@h/v"),
        ("https://token@h", "https://***@h"),
        ("https://h/path?access_token=abc&x=1", "https://h/path?access_token=***&x=1"),
        ('"password": "abc", "user": "orders"', '"password": "***", "user": "orders"'),
        (r"{\"token\":\"abc\"}", r"{\"token\":\"***\"}"),
        ("Authorization: Basic YWJj", "Authorization: ***"),
        ("sent Bearer abcdefghijklmnop==", "sent Bearer ***"),
        ("a eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln b", "a *** b"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "***"),
        ('password="correct horse staple", x=1', 'password="***", x=1'),
        (r'"password": "a \"quoted\" word", "x": 1', '"password": "***", "x": 1'),
        ("passphrase: 'one two three' x", "passphrase: '***' x"),
        (r"{\"token\":\"a b c\",\"x\":1}", r"{\"token\":\"***\",\"x\":1}"),
        ('password: "correct horse cut', 'password: "***'),
        ("AMQP_PASS=hunter2 x", "AMQP_PASS=*** x"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert Mask().text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "basic authentication is refused: the password is wrong",
        "https://idp.example/token",
        "rabbit.example.com:5671 (10.0.3.7)",
        'springline_token_requests_total{outcome="ok"} 3',
        "bypass: on",
    ],
)
def test_what_does_not_look_like_one_stays(text: str) -> None:
    assert Mask().text(text) == text
