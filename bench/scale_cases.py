"""Owns what is measured at scale: each case starts its servers, drives a swarm at them, and checks every client."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from measure import Figures, MeasurementError
from scale_servers import Servers, limits, openline_nodes
from scale_swarm import Swarm, swarm

HISTORY = 100
MEMBERS = 10
PUBLISHERS = 16
PROCESSES = 2
SETTLES_IN_SECONDS = 1.0
#: The nodes look at their logs every two seconds.
IDLE_SECONDS = 2.0
PLAIN = ("--plain", "--all-nodes")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: clients and nodes, seconds of each part, messages in flight, rounds of each case."""

    clients: int = 20_000
    nodes: int = 4
    messages: int = 60
    seconds: float = 5.0
    window: int = 64
    visitors: int = 2000
    flood_seconds: float = 2.0
    flood_window: int = 16
    #: Messages a second while a node is killed: in the one channel, in the many.
    pace: float = 2.0
    paces: float = 400.0
    storm_seconds: float = 8.0
    rounds: int = 3
    fewer_rounds: int = 2


FULL = Effort()
QUICK = Effort(
    clients=400,
    messages=10,
    seconds=0.4,
    visitors=100,
    flood_seconds=0.3,
    flood_window=4,
    pace=10.0,
    storm_seconds=1.5,
    rounds=1,
    fewer_rounds=1,
)


@dataclass(frozen=True, slots=True)
class Case:
    """``key`` names it in the results; its text stands in the progress line."""

    key: str
    title: str
    measure: Callable[[], Figures]

    def __str__(self) -> str:
        return self.title

    def __hash__(self) -> int:
        return hash(self.key)


def cases(effort: Effort) -> Mapping[Case, int]:
    """Everything that is measured, and how often."""
    many, few = effort.rounds, effort.fewer_rounds
    n, total = effort.nodes, f"{effort.clients:,} clients on {effort.nodes}"
    found = {
        Case("all limit", f"one channel, {total} limits", lambda: one_channel(effort, plain=True)): many,
        Case("all", f"one channel, {total} nodes", lambda: one_channel(effort, plain=False)): many,
        Case("rooms limit", f"channels of {MEMBERS}, {total} limits", lambda: rooms(effort, plain=True)): few,
        Case("rooms", f"channels of {MEMBERS}, {total} nodes", lambda: rooms(effort, plain=False)): few,
        Case("visits", f"{effort.visitors:,} clients come and leave", lambda: visits(effort)): few,
    }
    for nodes in (count for count in (1, 2, 4) if count <= n):
        for listening in dict.fromkeys((nodes, 1)):
            found[_flood_case(effort, nodes, listening)] = few
    return found


def _flood_case(effort: Effort, nodes: int, listening: int) -> Case:
    where = "listeners everywhere" if listening == nodes else "listeners on one"
    title = f"publishing on {nodes} node{'s' if nodes > 1 else ''}, {where}"
    return Case(f"flood {nodes} {listening}", title, lambda: flood(effort, nodes, listening))


def _servers(effort: Effort, *, plain: bool) -> AbstractContextManager[Servers]:
    return limits(effort.nodes) if plain else openline_nodes(effort.nodes, HISTORY)


# -- figures


@dataclass(slots=True)
class Meter:
    """What servers have used since it was made."""

    servers: Servers
    began: float
    used: Figures

    @staticmethod
    def of(servers: Servers) -> "Meter":
        engine = servers.redis.figures() if servers.redis else {}
        used = {f"engine {name}": value for name, value in engine.items()}
        return Meter(servers, time.monotonic(), {"node µs": servers.cpu_seconds() * 1e6, **used})

    def per(self, count: float, name: str, idle: Figures | None = None) -> Figures:
        """Of each of ``count``, named ``… per name``, less what ``idle`` says that goes on in a second anyway."""
        now = Meter.of(self.servers)
        passed = now.began - self.began
        less = {what: rate * passed for what, rate in (idle or {}).items()}
        return {
            f"{what} per {name}": (now.used[what] - before - less.get(what, 0.0)) / count
            for what, before in self.used.items()
        }

    def per_second(self) -> Figures:
        """Of each second since it was made."""
        now = Meter.of(self.servers)
        return {what: (now.used[what] - before) / (now.began - self.began) for what, before in self.used.items()}


def idle_rate(servers: Servers) -> Figures:
    """What goes on in a second while nobody does anything: heartbeats of nodes, looks at logs."""
    meter = Meter.of(servers)
    time.sleep(IDLE_SECONDS)
    return meter.per_second()


def _open(clients: Swarm, servers: Servers, count: int) -> Figures:
    meter, memory, began = Meter.of(servers), servers.resident_kb(), time.monotonic()
    clients.ask("open")
    took = time.monotonic() - began
    time.sleep(SETTLES_IN_SECONDS)
    figures = {"connects/s": count / took, "KB per connection": (servers.resident_kb() - memory) / count}
    return figures | meter.per(count, "connect")


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def counts_of(clients: Swarm) -> Figures:
    """What came since the last time: sums, and the worst of each process for times."""
    told = clients.ask("tally")
    return {
        name: (max if name.endswith("_ms") else sum)(float(answer[name]) for answer in told)
        for name in told[0]
        if name != "event"
    }


def must_be_whole(counts: Figures, missing: float, where: str) -> None:
    wrong = {name: counts[name] for name in ("lost", "doubled", "gaps") if counts[name]}
    if missing:
        wrong["missing"] = missing
    if wrong:
        raise MeasurementError(f"{where}: {wrong}")


# -- one channel, and many


def one_channel(effort: Effort, *, plain: bool) -> Figures:
    """Everybody is in it; a message is published when everybody has the one before. Then a node is killed."""
    with (
        _servers(effort, plain=plain) as servers,
        swarm(servers.addresses, effort.clients, PROCESSES, *(PLAIN if plain else ())) as clients,
    ):
        figures = _open(clients, servers, effort.clients)
        idle = idle_rate(servers) if servers.redis else {}
        lasts: list[float] = []
        warm = max(2, effort.messages // 6)
        for number in range(1, warm + effort.messages + 1):
            if number == warm + 1:
                meter = Meter.of(servers)
            clients.ask_first("publish")
            lasts.append(max(float(answer["last_ms"]) for answer in clients.ask("await", number)))
        figures |= meter.per(effort.messages * effort.clients, "delivery") | meter.per(effort.messages, "publish", idle)
        figures |= {"last p50 ms": _share(lasts[warm:], 0.5), "last p99 ms": _share(lasts[warm:], 0.99)}
        must_be_whole(counts_of(clients), clients.total("missing", "check", warm + effort.messages), "one channel")
        if not plain:
            figures |= _storm(clients, servers, effort, effort.pace, one_process=True)
        return figures


def rooms(effort: Effort, *, plain: bool) -> Figures:
    """The members of each are spread over the nodes; many messages are under way, in as many channels."""
    options = ("--members", MEMBERS, *(PLAIN if plain else ()))
    with (
        _servers(effort, plain=plain) as servers,
        swarm(servers.addresses, effort.clients, PROCESSES, *options) as clients,
    ):
        figures = _open(clients, servers, effort.clients)
        window = max(1, effort.window // PROCESSES)
        clients.ask("drive", window, effort.seconds / 5)
        counts_of(clients)
        meter = Meter.of(servers)
        clients.ask("drive", window, effort.seconds)
        took, counts = time.monotonic() - meter.began, counts_of(clients)
        figures |= meter.per(counts["deliveries"], "delivery") | meter.per(counts["messages"], "publish")
        figures |= {"last p50 ms": counts["last_p50_ms"], "last p99 ms": counts["last_p99_ms"]}
        figures["messages/s"] = counts["messages"] / took
        must_be_whole(counts, clients.total("missing", "check", 0), "many channels")
        if not plain:
            figures |= _storm(clients, servers, effort, effort.paces / PROCESSES, one_process=False)
        return figures


def _storm(clients: Swarm, servers: Servers, effort: Effort, pace: float, *, one_process: bool) -> Figures:
    """Messages go on at a pace, before and while a node is killed and all its clients come back to the others."""

    def begin(seconds: float) -> None:
        (clients.tell_first if one_process else clients.tell)("pace", pace, seconds)

    def end() -> None:
        if one_process:
            clients.first_answer()
        else:
            clients.answers()

    begin(effort.storm_seconds / 2)
    end()
    clients.ask("quiet", 0.3)
    before = counts_of(clients)
    begin(effort.storm_seconds)
    time.sleep(effort.storm_seconds / 8)
    killed = time.clock_gettime(time.CLOCK_MONOTONIC)
    last = len(servers.nodes) - 1
    servers.kill(last)
    meter = Meter.of(servers)
    end()
    back = [float(answer["back_at"]) - killed for answer in clients.ask("recover", last)]
    clients.ask("quiet", 0.5)
    published = clients.ask_first("published")["count"] if one_process else 0
    counts, missing = counts_of(clients), clients.total("missing", "check", published)
    if not counts["fell"] or counts["fell"] != counts["back"]:
        raise MeasurementError(f"{counts['fell']:.0f} lost their node, {counts['back']:.0f} were taken up again")
    return {
        "lost their node": counts["fell"],
        "back after s": max(back),
        "rest p50 ms": counts["p50_ms"],
        "rest p99 ms": counts["p99_ms"],
        "before p50 ms": before["p50_ms"],
        "before p99 ms": before["p99_ms"],
        "storm deliveries": counts["deliveries"],
        "storm lost": counts["lost"] + missing + before["lost"],
        "storm doubled": counts["doubled"] + before["doubled"],
        "unrecovered": counts["unrecovered"] + counts["fresh"] + counts["gaps"],
        "not let in at first": counts["refused"],
        **meter.per(counts["fell"], "return"),
    }


# -- publishing


def flood(effort: Effort, nodes: int, listening: int) -> Figures:
    """Publishers at each of the nodes, each in a channel of its own, which one client of each listening node is in."""
    with (
        openline_nodes(nodes, HISTORY) as servers,
        swarm(servers.addresses, PUBLISHERS, 1, "--silent") as publishers,
        swarm(servers.addresses[:listening], PUBLISHERS * listening, 1, "--members", listening) as listeners,
    ):
        listeners.ask("open")
        publishers.ask("open")
        publishers.ask("flood", effort.flood_window, effort.flood_seconds / 4)
        counts_of(publishers)
        meter = Meter.of(servers)
        publishers.ask("flood", effort.flood_window, effort.flood_seconds)
        took, answers = time.monotonic() - meter.began, counts_of(publishers)["answers"]
        figures = meter.per(answers, "publish")
        listeners.ask("quiet", 0.3)
        counts, sent = counts_of(listeners), publishers.total("count", "published")
        must_be_whole(counts, sent * listening - counts["deliveries"], "listeners")
        return figures | {"publishes/s": answers / took}


def visits(effort: Effort) -> Figures:
    """Clients come, subscribe, and leave in order; what goes on without them is taken off."""
    with (
        openline_nodes(effort.nodes, HISTORY) as servers,
        swarm(servers.addresses, effort.visitors, PROCESSES, "--members", MEMBERS) as clients,
    ):
        idle = idle_rate(servers)
        meter = Meter.of(servers)
        figures = _open(clients, servers, effort.visitors)
        clients.ask("bye")
        time.sleep(SETTLES_IN_SECONDS)
        figures |= meter.per(effort.visitors, "visit", idle)
        return figures | {f"{name} per node and s": rate / effort.nodes for name, rate in idle.items()}
