"""What an administrator does to a RabbitMQ broker, as methods.

Everything goes through evaluated Erlang, as `rabbitmqctl` does it, so no management plugin is
needed. It does not start or stop the broker. Names and passwords are passed as bytes, so any text
is allowed in them.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from support import erlang
from support.waiting import PATIENCE

__all__ = ["Administration", "Alarm", "Connection"]

Alarm = Literal["memory", "disk"]

# Who RabbitMQ's log says did it.
_ACTOR = '<<"springline-tests">>'
_SETTLE_SECONDS = PATIENCE

# Connections that end while they are listed are left out. Text that is not UTF-8 is shown as
# Latin-1, because JSON has no other way to hold it.
_CONNECTIONS = """
Text = fun(B) -> case unicode:characters_to_binary(B) of
                   B -> B;
                   _ -> unicode:characters_to_binary(B, latin1)
                 end end,
Amqp = fun Amqp(table, T) -> maps:from_list([{Text(K), Amqp(Type, V)} || {K, Type, V} <- T]);
           Amqp(array, A) -> [Amqp(Type, V) || {Type, V} <- A];
           Amqp(void, _) -> null;
           Amqp(_, V) when is_binary(V) -> Text(V);
           Amqp(_, V) when is_number(V); is_boolean(V) -> V;
           Amqp(_, V) -> Text(iolist_to_binary(io_lib:format("~0tp", [V]))) end,
Field = fun(client_properties, V) when is_list(V) -> Amqp(table, V);
           (_, V) when V =:= none; V =:= undefined; V =:= nothing -> null;
           (_, V) when is_binary(V) -> Text(V);
           (_, V) when is_number(V); is_boolean(V) -> V;
           (_, V) when is_atom(V) -> atom_to_binary(V);
           (_, V) -> Text(iolist_to_binary(io_lib:format("~0tp", [V]))) end,
Keys = [name, user, vhost, state, ssl, channels, timeout, channel_max, frame_max, auth_mechanism,
        peer_port, client_properties],
Row = fun(Pid, Info) ->
  maps:from_list([{pid, list_to_binary(pid_to_list(Pid))} | [{K, Field(K, V)} || {K, V} <- Info]])
end,
lists:append([
  try rabbit_networking:connection_info(Pid, Keys) of
    Info -> [Row(Pid, Info)]
  catch _:_ -> [] end
  || Pid <- rabbit_networking:local_connections()])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A client connection, as the broker sees it; what is not agreed yet is empty or 0."""

    # The broker's process, `<0.1234.0>`.
    pid: str
    # What the client calls itself: its property `connection_name`, or an empty string.
    name: str
    # What the broker calls it: `127.0.0.1:40000 -> 127.0.0.1:20000`.
    path: str
    user: str
    vhost: str
    # `starting`, `tuning`, `running`, `blocking`, `blocked`, `closing` and others: rabbit_reader's.
    state: str
    tls: bool
    channels: int
    # Seconds; 0 for none.
    heartbeat: int
    channel_max: int
    frame_max: int
    auth_mechanism: str
    peer_port: int
    client_properties: Mapping[str, Any] = field(default_factory=dict)


class Administration(ABC):
    """The administrator's side of a broker; a subclass says how expressions reach it."""

    @abstractmethod
    def eval(self, expression: str) -> str:
        """Evaluate an Erlang expression in the broker and return its value as Erlang prints it."""

    @abstractmethod
    def eval_json(self, expression: str) -> object:
        """Evaluate an Erlang expression in the broker and return its value by way of JSON."""

    # Users

    def add_user(self, name: str, password: str, *, tags: Iterable[str] = ()) -> None:
        """Add a user of the internal database, without any permissions."""
        user = erlang.binary(name)
        self._do(
            f"rabbit_auth_backend_internal:add_user({user}, {erlang.binary(password)}, {_ACTOR})"
        )
        listed = ",".join(erlang.atom(tag) for tag in tags)
        self._do(f"rabbit_auth_backend_internal:set_tags({user}, [{listed}], {_ACTOR})")

    def delete_user(self, name: str) -> None:
        """Delete a user; the broker closes its connections."""
        self._do(f"rabbit_auth_backend_internal:delete_user({erlang.binary(name)}, {_ACTOR})")

    def change_password(self, name: str, password: str) -> None:
        """Change a user's password; open connections stay."""
        self._do(
            f"rabbit_auth_backend_internal:change_password("
            f"{erlang.binary(name)}, {erlang.binary(password)}, {_ACTOR})"
        )

    def set_permissions(
        self, user: str, vhost: str, *, configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> None:
        """Allow a user into a virtual host; the patterns are regular expressions of names."""
        patterns = ", ".join(erlang.binary(pattern) for pattern in (configure, write, read))
        self._do(
            f"rabbit_auth_backend_internal:set_permissions("
            f"{erlang.binary(user)}, {erlang.binary(vhost)}, {patterns}, {_ACTOR})"
        )

    def clear_permissions(self, user: str, vhost: str) -> None:
        """Take a user's access to a virtual host away; open connections stay."""
        self._do(
            f"rabbit_auth_backend_internal:clear_permissions("
            f"{erlang.binary(user)}, {erlang.binary(vhost)}, {_ACTOR})"
        )

    def set_user_limit(self, user: str, max_connections: int | None) -> None:
        """Limit a user's connections; None takes the limit away."""
        name = erlang.binary(user)
        if max_connections is None:
            clear = f'clear_user_limits({name}, <<"max-connections">>, {_ACTOR})'
            self._do(f"rabbit_auth_backend_internal:{clear}")
            return
        limit = f'#{{<<"max-connections">> => {max_connections}}}'
        self._do(f"rabbit_auth_backend_internal:set_user_limits({name}, {limit}, {_ACTOR})")

    # Virtual hosts

    def add_vhost(self, name: str) -> None:
        """Add a virtual host. Idempotent."""
        self._do(f"rabbit_vhost:add({erlang.binary(name)}, {_ACTOR})")

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all it holds; the broker closes its connections."""
        self._do(f"rabbit_vhost:delete({erlang.binary(name)}, {_ACTOR})")

    def stop_vhost(self, name: str) -> None:
        """Take a virtual host down, as after a crash of its processes; its data stays."""
        vhost = erlang.binary(name)
        # The record is {vhost_sup, Name, Supervisor, Wrapper, Process}. `stop_and_delete_vhost`
        # would delete the data.
        self._do(
            f"[Record] = ets:lookup(rabbit_vhost_sup_sup, {vhost}), "
            f"supervisor:terminate_child(rabbit_vhost_sup_sup, element(4, Record))"
        )
        self._await(f"not rabbit_vhost_sup_sup:is_vhost_alive({vhost})")

    def start_vhost(self, name: str) -> None:
        """Bring a virtual host up again. Idempotent."""
        vhost = erlang.binary(name)
        self._do(
            f"case rabbit_vhost_sup_sup:is_vhost_alive({vhost}) of true -> ok; "
            f"false -> rabbit_vhost_sup_sup:start_vhost({vhost}) end"
        )
        self._await(f"rabbit_vhost_sup_sup:is_vhost_alive({vhost})")

    def set_vhost_limit(self, vhost: str, max_connections: int | None) -> None:
        """Limit a virtual host's connections; None takes the limit away."""
        name = erlang.binary(vhost)
        if max_connections is None:
            self._do(f"rabbit_vhost_limit:clear({name}, {_ACTOR})")
            return
        limit = f'[{{<<"max-connections">>, {max_connections}}}]'
        self._do(f"rabbit_vhost_limit:set({name}, {limit}, {_ACTOR})")

    # Queues

    def add_queue(self, vhost: str, name: str) -> None:
        """Add a durable queue. Idempotent."""
        self._do(
            f"rabbit_amqqueue:declare({_queue(vhost, name)}, true, false, [], none, {_ACTOR}), ok"
        )

    def delete_queue(self, vhost: str, name: str) -> None:
        """Delete a queue; its consumers are told."""
        self._do(
            f"{{ok, Queue}} = rabbit_amqqueue:lookup({_queue(vhost, name)}), "
            f"rabbit_amqqueue:delete(Queue, false, false, {_ACTOR}), ok"
        )

    def message_count(self, vhost: str, queue: str) -> int:
        """Count what is in a queue."""
        return int(
            self.eval(
                f"{{ok, Queue}} = rabbit_amqqueue:lookup({_queue(vhost, queue)}), "
                "proplists:get_value(messages, rabbit_amqqueue:info(Queue, [messages]))"
            )
        )

    # Alarms

    def set_alarm(self, source: Alarm) -> None:
        """Raise a resource alarm, and wait until it is in force. Idempotent."""
        self._do(f"rabbit_alarm:set_alarm({{{_alarm(source)}, []}})")
        self._await(f"lists:member({{{_alarm(source)}, []}}, rabbit_alarm:get_alarms())")

    def clear_alarm(self, source: Alarm) -> None:
        """Clear a resource alarm, and wait until it is gone. Idempotent."""
        self._do(f"rabbit_alarm:clear_alarm({_alarm(source)})")
        self._await(f"not lists:keymember({_alarm(source)}, 1, rabbit_alarm:get_alarms())")

    # Connections

    def connections(self) -> list[Connection]:
        """List the client connections, from the protocol header they sent onwards."""
        rows = self.eval_json(_CONNECTIONS)
        if not isinstance(rows, list):
            raise TypeError(f"a list of connections was expected, not {rows!r}")
        return [_connection(row) for row in rows]

    def close_connection(self, name_or_pid: str, reason: str) -> None:
        """Close the connections with this pid or name, as an administrator does (320).

        Raises `LookupError` where there is none.
        """
        pids = [
            connection.pid
            for connection in self.connections()
            if name_or_pid in (connection.pid, connection.name, connection.path)
        ]
        if not pids:
            raise LookupError(f"no connection called {name_or_pid!r}")
        listed = ",".join(f'list_to_pid("{pid}")' for pid in pids)
        self._close(f"[{listed}]", reason)

    def close_all_connections(self, reason: str) -> int:
        """Close every connection, as an administrator does, and return how many there were."""
        return self._close("rabbit_networking:local_connections()", reason)

    def close_clients(self, port: int, reason: str) -> int:
        """Close whatever is connected to a port, as above, and return how many there were.

        RabbitMQ 3.10 lists no connection of AMQP 1.0 among the others.
        """
        closing = f"rabbit_reader:shutdown(Pid, {erlang.string(reason)})"
        readers = (
            "[rabbit_connection_sup:reader(Supervisor) || "
            "{acceptor, _, Port} = Listener <- maps:keys(ranch:info()), "
            f"Port =:= {port}, Supervisor <- ranch:procs(Listener, connections)]"
        )
        return int(self.eval(f"length([catch {closing} || Pid <- {readers}])"))

    def _close(self, pids: str, reason: str) -> int:
        # A connection that has just ended by itself makes close_connection exit.
        return int(
            self.eval(
                f"length([catch rabbit_networking:close_connection(Pid, {erlang.string(reason)})"
                f" || Pid <- {pids}])"
            )
        )

    def _do(self, expression: str) -> None:
        """Evaluate for the effect. Failures that RabbitMQ only returns are raised, too."""
        self.eval(
            f"case begin {expression} end of {{error, Why}} -> error(Why); "
            f"{{error_string, Why}} -> error(Why); Fine -> Fine end"
        )

    def _await(self, condition: str) -> None:
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self.eval(condition) != "true":
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not so after {_SETTLE_SECONDS} s: {condition}")
            time.sleep(0.05)


def _queue(vhost: str, name: str) -> str:
    return f"rabbit_misc:r({erlang.binary(vhost)}, queue, {erlang.binary(name)})"


def _alarm(source: Alarm) -> str:
    return f"{{resource_limit, {source}, node()}}"


def _connection(row: dict[str, Any]) -> Connection:
    properties = row["client_properties"]
    if not isinstance(properties, dict):  # an empty list before StartOk
        properties = {}
    return Connection(
        pid=row["pid"],
        name=str(properties.get("connection_name", "")),
        path=row["name"],
        user=row["user"] or "",
        vhost=row["vhost"] or "",
        state=row["state"],
        tls=row["ssl"],
        channels=row["channels"] or 0,
        heartbeat=row["timeout"] or 0,
        channel_max=row["channel_max"] or 0,
        frame_max=row["frame_max"] or 0,
        auth_mechanism=row["auth_mechanism"] or "",
        peer_port=row["peer_port"],
        client_properties=properties,
    )
