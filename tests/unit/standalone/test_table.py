"""The table: its columns, ages and explanations, and what it keeps off the terminal."""

import io
import itertools
import re
from datetime import timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from springline.core.values import CredentialKind
from springline.standalone import table
from springline.standalone.report import Shown
from support import builders
from support.fake_clock import EIGHT
from support.running import a_broker, a_connection, a_secret
from support.standalone import Scene

PLANTED = "pl4nted-s3cret"
EVERYTHING = (a_secret("ann", PLANTED), a_broker(5672), a_connection("orders"))


def shown(scene: Scene) -> list[Shown]:
    return list(scene.report.shown.values())


def plain(scene: Scene) -> list[str]:
    return table.plain(shown(scene), now=scene.clock.now()).split("\n")


def row(scene: Scene, name: str = "orders") -> dict[str, str]:
    """Return the cells of one connection by column."""
    header, *rows = plain(scene)
    starts = [*(match.start() for match in re.finditer(r"\S+", header)), None]
    [line] = [each for each in rows if each.split()[1] == name]
    cells = [line[start:end].strip() for start, end in itertools.pairwise(starts)]
    return dict(zip(table._COLUMNS, cells, strict=True))


def rendered(scene: Scene, *, width: int, height: int = 60, **more: list[str]) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    console.print(table.for_terminal(shown(scene), now=scene.clock.now(), height=height, **more))
    return out.getvalue().rstrip("\n").split("\n")


async def test_open_connection_has_a_value_in_every_column_that_has_one(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    await scene.clock.advance(89)
    assert row(scene) == {
        "NAMESPACE": "default",
        "NAME": "orders",
        "READY": "True",
        "BLOCKED": "False",
        "STATE": "Connected",
        "BROKER": "rabbit",
        "VHOST": "/",
        "USER": "ann",
        "EXPIRES": "-",
        "AGE": "90s",
        "CONFIRM": "2.0 ms",
        "SERVER": "RabbitMQ 4.0.5",
        "HEARTBEAT": "60s",
        "ENDPOINT": "127.0.0.1:5672 (192.0.2.1)",
        "REASON": "Connected",
    }


async def test_connection_that_is_not_open_has_dashes_and_its_reason(scene: Scene) -> None:
    await scene.apply(a_connection("orders"))
    cells = row(scene)
    assert {cells[name] for name in ("BROKER", "AGE", "SERVER", "HEARTBEAT", "ENDPOINT")} == {"-"}
    assert (cells["READY"], cells["STATE"]) == ("False", "Rejected")
    assert cells["REASON"] == "BrokerNotFound"


async def test_suspended_connection_is_neither_ready_nor_not(scene: Scene) -> None:
    await scene.apply(
        a_secret("ann", PLANTED), a_broker(5672), a_connection("orders", suspend=True)
    )
    cells = row(scene)
    assert (cells["READY"], cells["STATE"], cells["REASON"]) == ("-", "Suspended", "Suspended")
    assert table.explanations(shown(scene)) == ["default/orders: spec.suspend is true"]


async def test_broker_in_place_is_shown_as_such(scene: Scene) -> None:
    inline = a_connection("orders")
    del inline["spec"]["brokerRef"]
    inline["spec"]["broker"] = a_broker(5672)["spec"]
    await scene.apply(a_secret("ann", PLANTED), inline)
    assert row(scene)["BROKER"] == "(inline)"


async def test_nothing_declared_is_a_header_alone(scene: Scene) -> None:
    assert [line.split() for line in plain(scene)] == [list(table._COLUMNS)]
    assert rendered(scene, width=200)[-1] == "no BrokerConnection is declared"


async def test_columns_are_aligned_whatever_is_in_them(scene: Scene) -> None:
    """Some characters take two places on a terminal."""
    await scene.apply(
        *EVERYTHING, a_connection("wide", virtualHost="注文"), a_connection("o", virtualHost="éé")
    )
    lines = plain(scene)
    at = {cell_len(line[: line.index("ann")]) for line in lines[1:]}
    assert at == {lines[0].index("USER")}


async def test_no_line_ends_in_spaces(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    assert all(line == line.rstrip() for line in plain(scene))


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=119, seconds=59), "119m"),
        (timedelta(hours=2), "2h"),
        (timedelta(hours=47, minutes=59), "47h"),
        (timedelta(hours=48), "2d"),
        (timedelta(days=400), "400d"),
    ],
)
async def test_age_is_in_whole_units(scene: Scene, span: timedelta, text: str) -> None:
    await scene.apply(*EVERYTHING)
    since = shown(scene)[0].view.connected_since
    assert since is not None
    line = table.plain(shown(scene), now=since + span).split("\n")[1]
    assert f"   {text}   " in line


async def test_age_is_never_negative(scene: Scene) -> None:
    """The wall clock may be set back."""
    await scene.apply(*EVERYTHING)
    line = table.plain(shown(scene), now=EIGHT - timedelta(hours=1)).split("\n")[1]
    assert "   0s   " in line
    assert "expired" not in line


async def test_lifetime_of_a_credential_counts_down_and_ends(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    [found] = shown(scene)
    expiring = builders.a_credential()
    object.__setattr__(expiring, "expires_at", EIGHT + timedelta(hours=3))
    object.__setattr__(expiring, "kind", CredentialKind.TOKEN)
    assert found.view.credential is not None
    object.__setattr__(found.view.credential, "credential", expiring)
    expires = [
        table.plain([found], now=EIGHT + timedelta(hours=hours)).split("\n")[1].split()[8]
        for hours in (0, 1, 3, 4)
    ]
    assert expires == ["3h", "2h", "expired", "expired"]


# --- explanations


async def test_connection_that_is_ready_needs_no_explanation(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    assert table.explanations(shown(scene)) == []


async def test_connection_that_is_not_ready_is_explained_with_its_next_attempt(
    scene: Scene,
) -> None:
    scene.driver.otherwise = builders.unreachable("nobody listens")
    await scene.apply(
        a_secret("ann", "x"),
        a_broker(5672, retry={"delay": "30s", "jitter": 0}),
        a_connection("orders"),
    )
    await scene.clock.advance(9)
    assert table.explanations(shown(scene)) == ["default/orders: nobody listens"]
    assert table.explanations(shown(scene), now=scene.clock.now()) == [
        "default/orders: nobody listens (next attempt in 20s)"
    ]


async def test_blocked_connection_is_explained_although_it_is_ready(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    scene.driver.connection.block("low on memory")
    await scene.clock.advance(1)
    [line] = table.explanations(shown(scene))
    assert line.startswith("default/orders: blocked by the broker: ")


# --- on a terminal


async def test_wide_terminal_shows_every_column(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    header, line = rendered(scene, width=200)
    assert header.split() == list(table._COLUMNS)
    assert "127.0.0.1:5672 (192.0.2.1)" in line


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
async def test_narrow_terminal_leaves_whole_columns_out(scene: Scene, width: int) -> None:
    """Half of an address helps nobody; name, readiness and state always stay."""
    await scene.apply(*EVERYTHING)
    header, line = rendered(scene, width=width)
    columns = header.split()
    assert {"NAMESPACE", "NAME", "READY", "STATE"} <= set(columns) < set(table._COLUMNS)
    assert "…" not in header + line
    assert max(len(header), len(line)) <= width


async def test_terminal_that_is_too_narrow_for_the_rest_shortens_cells(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    assert all(len(line) <= 20 for line in rendered(scene, width=20))


# --- without colours, as `check` prints it


def fitted(scene: Scene, to: int, encoding: str = "utf-8") -> list[str]:
    now = scene.clock.now()
    return table.plain(shown(scene), now=now, to=to, encoding=encoding).split("\n")


@pytest.mark.parametrize("to", [200, 120, 80, 60, 45])
async def test_table_without_colours_has_the_columns_of_the_live_one(scene: Scene, to: int) -> None:
    await scene.apply(*EVERYTHING, a_connection("invoices"))
    live = rendered(scene, width=to)[0].split()
    header, *rows = fitted(scene, to)
    assert header.split() == live
    assert all(cell_len(line) <= to for line in (header, *rows))


async def test_table_without_colours_into_a_pipe_has_every_column(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    assert plain(scene)[0].split() == list(table._COLUMNS)


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "…"), ("ascii", "~")])
async def test_name_that_is_wider_than_the_terminal_is_shortened(
    scene: Scene, encoding: str, mark: str
) -> None:
    await scene.apply(*EVERYTHING, a_connection("a-name-that-goes-on-and-on-and-on-and-on"))
    lines = fitted(scene, 60, encoding)
    assert all(cell_len(line) <= 60 for line in lines)
    assert sum(mark in line for line in lines) == 1
    assert all(line.split()[2] in ("READY", "True") for line in lines)


async def test_columns_stay_aligned_where_the_encoding_lacks_characters(scene: Scene) -> None:
    await scene.apply(*EVERYTHING, a_secret("größe", PLANTED))
    header, line = fitted(scene, 200, "ascii")
    assert line[header.index("USER") :].startswith("gr\\xf6\\xdfe ")
    assert line[header.index("EXPIRES") :].startswith("- ")


async def test_live_table_stays_aligned_where_the_encoding_lacks_characters(scene: Scene) -> None:
    await scene.apply(*EVERYTHING, a_secret("größe", PLANTED))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    console = Console(file=out, width=200, height=60)
    console.print(table.for_terminal(shown(scene), now=scene.clock.now(), height=60))
    out.seek(0)
    header, line, *_ = out.read().split("\n")
    assert line[header.index("EXPIRES") :].startswith("- ")


async def test_live_table_is_shortened_in_characters_of_the_encoding(scene: Scene) -> None:
    await scene.apply(*EVERYTHING, a_connection("a-name-that-goes-on-and-on-and-on-and-on"))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    console = Console(file=out, width=60, height=60)
    console.print(table.for_terminal(shown(scene), now=scene.clock.now(), height=60))


async def test_problems_and_recent_events_stand_below_the_table(scene: Scene) -> None:
    await scene.apply(a_connection("orders"))
    lines = rendered(scene, width=200, problems=["a.yaml: is empty"], recent=["something"])
    assert lines[2].startswith("default/orders: spec.brokerRef: there is no Broker")
    assert lines[3:] == ["a.yaml: is empty", "something"]


async def test_very_long_message_is_wrapped_and_shown_whole(scene: Scene) -> None:
    message = " ".join(f"word{number}" for number in range(125))
    scene.driver.otherwise = builders.unreachable(message)
    await scene.apply(*EVERYTHING)
    lines = rendered(scene, width=100)
    assert all(len(line) <= 100 for line in lines)
    assert message in " ".join(line.strip() for line in lines)
    assert len(plain(scene)[1]) < 400


async def test_what_looks_like_markup_is_shown_as_it_is(scene: Scene) -> None:
    scene.driver.otherwise = builders.unreachable("[red]no[/red] [link=x]")
    await scene.apply(*EVERYTHING)
    assert any("[red]no[/red] [link=x]" in line for line in rendered(scene, width=200))


HOSTILE = "a\x1b[31mb\r\nc\x00d\u202ee\ud800"


async def test_control_characters_never_reach_the_terminal(scene: Scene) -> None:
    """Brokers choose their texts, and tokens the names in them."""
    scene.driver.otherwise = builders.unreachable(HOSTILE)
    await scene.apply(a_secret("ann\x1b[2J", "x"), *EVERYTHING[1:])
    everything = [*plain(scene), *table.explanations(shown(scene)), *rendered(scene, width=300)]
    assert all(line.isprintable() for line in everything)
    assert "\\x1b[31mb\\r\\nc\\x00d\\u202ee\\ud800" in table.explanations(shown(scene))[0]


async def test_no_secret_is_shown(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    assert PLANTED not in "\n".join([*plain(scene), *rendered(scene, width=300)])


FLEET = [a_connection(f"c{number:03}", suspend=number == 40) for number in range(50)]


async def test_more_connections_than_lines_are_summed_up_with_the_troubled_ones_first(
    scene: Scene,
) -> None:
    await scene.apply(*EVERYTHING[:2], *FLEET)
    lines = rendered(scene, width=300, height=12)
    assert len(lines) <= 12
    assert "c040" in lines[1]
    summed_up = [line for line in lines if line.startswith("…")]
    left = 50 - sum(line.startswith("default ") for line in lines)
    assert summed_up == [f"… and {left} more, {left} of them Ready"]


async def test_mistakes_never_push_the_table_off_the_terminal(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    lines = rendered(scene, width=300, height=12, problems=[f"mistake {n}" for n in range(40)])
    assert len(lines) <= 12
    assert "orders" in lines[1]
    assert "… and 37 more" in lines
