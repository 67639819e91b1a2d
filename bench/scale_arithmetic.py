"""Owns the arithmetic of docs/scaling.md: from what was measured to a million and to a hundred million connections."""

from dataclasses import dataclass

#: How much of a core, or of a network card, is planned with: the rest is for storms.
PLANNED = 0.6
#: Connections of one node, which is one process: what a planned core allows at the loads below.
DELIVERED_BYTES = 330
PER_NODE = 50_000
KERNEL_KB = 4
VISIT_SECONDS = 1800
MEMBERS = 10
SAYS_EVERY_SECONDS = 100
CARD_BYTES = 1.25e9
BEAT_BYTES = 40


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured; of one connection, delivery, publish, copy for a node that listens."""

    connection_kb: float
    engine_bytes: float
    delivery_us: float
    connect_us: float
    engine_connect_us: float
    publish_us: float
    hear_us: float
    engine_publish_us: float
    engine_copy_us: float
    engine_bytes_in: float
    engine_copy_bytes: float
    engine_node_us: float


@dataclass(frozen=True, slots=True)
class Load:
    """What so many connections do to nodes and engine, each second."""

    name: str
    connections: float
    publishes: float
    copies: float  # of each publish: nodes that listen
    deliveries: float


def loads(connections: float) -> list[Load]:
    """Rooms of ten whose members say something now and then; and one channel for all, twice a second."""
    nodes = max(1.0, connections / PER_NODE)
    said = connections / SAYS_EVERY_SECONDS
    return [
        Load("rooms of 10", connections, said, min(MEMBERS, nodes), said * MEMBERS),
        Load("one channel", connections, 2.0, nodes, 2.0 * connections),
    ]


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:,.3g} million"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _column(costs: Costs, load: Load) -> dict[str, str]:
    connects = load.connections / VISIT_SECONDS
    cores = (
        load.deliveries * costs.delivery_us
        + load.publishes * (costs.publish_us + load.copies * costs.hear_us)
        + connects * costs.connect_us
    ) / 1e6
    nodes = max(load.connections / PER_NODE, cores / PLANNED)
    engine_us = {
        "publishes": load.publishes * (costs.engine_publish_us + load.copies * costs.engine_copy_us),
        "clients that come and leave": connects * costs.engine_connect_us,
        "the nodes' own": nodes * costs.engine_node_us,
    }
    engine_cores = sum(engine_us.values()) / 1e6
    out = load.publishes * load.copies * costs.engine_copy_bytes + nodes * nodes * BEAT_BYTES
    return {
        "publishes/s": _number(load.publishes),
        "deliveries/s": _number(load.deliveries),
        "memory of all nodes, GB (with the kernel's)": _number(
            load.connections * (costs.connection_kb + KERNEL_KB) / 1e6
        ),
        "cores of all nodes": _number(cores),
        f"nodes, one core each at {PLANNED:.0%}": _number(nodes),
        "to clients, Gbit/s": _number(load.deliveries * DELIVERED_BYTES * 8 / 1e9),
        "engine: memory, GB": _number(load.connections * costs.engine_bytes / 1e9),
        **{f"engine: cores for {what}": _number(us / 1e6) for what, us in engine_us.items()},
        "engine: MB/s in": _number(load.publishes * costs.engine_bytes_in / 1e6),
        "engine: MB/s out": _number(out / 1e6),
        "**engines that it would take**": _number(max(1.0, engine_cores / PLANNED, out / (PLANNED * CARD_BYTES))),
    }


def arithmetic(costs: Costs) -> str:
    """The section, with its tables."""
    sizes = (("a million", 1e6), ("a hundred million", 1e8))
    columns = {f"{size}, {load.name}": _column(costs, load) for size, count in sizes for load in loads(count)}
    names = next(iter(columns.values()))
    lines = [f"| | {' | '.join(columns)} |", "|---" + "|---:" * len(columns) + "|"]
    lines += [f"| {name} | {' | '.join(column[name] for column in columns.values())} |" for name in names]
    most = PLANNED * 1e6 / (costs.engine_publish_us + MEMBERS * costs.engine_copy_us)
    storm = 1e6 * costs.engine_connect_us / 1e6
    return f"""## A million, and a hundred million

Arithmetic from the figures above, for machines like this one. *Rooms of 10*: each client says something to its ten
every {SAYS_EVERY_SECONDS} s. *One channel*: everybody hears two messages a second. Assumed are: clients who stay for
{VISIT_SECONDS // 60} minutes; {PER_NODE:,} of them at a node, which is one process; {KERNEL_KB} KB of the kernel's
memory for an idle socket; {DELIVERED_BYTES} bytes on the wire for a delivery; {PLANNED:.0%} of a core or of a card with
10 Gbit/s in use, so that the rest is there for storms. One Redis does everything on one core.

{chr(10).join(lines)}

**One Redis** takes about {_number(most)} publishes a second into rooms whose members are on ten nodes: that is
{_number(most * SAYS_EVERY_SECONDS)} such clients. Into one channel of all, its part is next to nothing.

**What breaks first on the way to a million** is not the daily load but everybody at once: when a million clients come
and leave within a minute, that is {storm:,.0f} s of Redis's one core. Drains are spread over a window for this reason,
and clients come back at random times. A dead node of {PER_NODE:,} is {storm * PER_NODE / 1e6:.0f} s of it.

**At a hundred million** nodes are only more of the same, but one engine is not enough, whatever the load:

1. **Redis's core**, by publishes and by connects, both by the factor in the last line. What would come then is *several
   engines*: channels and records divided among them by name, each with its own counter. Positions become one stamp per
   engine, which is why clients keep them as opaque strings. Redis Cluster with sharded publish/subscribe is that, and
   NATS JetStream is another way; neither is built yet.
2. **Copies**: into one channel of all, Redis writes each message once per node. Beyond some thousand nodes that wants a
   tree: one node of a rack listens, and tells the others. The nodes' own deliveries stay as they are.
3. **Leases**: each node learns of all nodes with every beat, which grows with their square. It is nothing at twenty
   nodes, and {2000 * 2000 * BEAT_BYTES / 1e6:,.0f} MB a second at two thousand; then nodes would be told of changes.
4. **Memory of the records** is divided as the channels are.

What does not break is a node: it knows its own connections, and hears only channels that somebody of them is in.
"""
