"""What a drain of the whole server would come to, which may be several processes on one host."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from openline.errors import BrokerError, CommandError
from openline.hub.drain import Drain
from openline.hub.outcome import Outcome, drive
from openline.protocol.api import Plan

if TYPE_CHECKING:
    from openline.hub.hub import Hub

__all__ = ["Plans"]

_ASK_SECONDS: Final = 2.0


class Plans:
    """Asks the nodes of one ``server``, which is empty where there is no other."""

    def __init__(self, hub: "Hub", departure: Drain, server: str) -> None:
        self._hub = hub
        self._departure = departure
        self._server = server
        if hub.cluster is not None and server:
            hub.cluster.post.on("plan", self._tell)

    def _tell(self, server: Any) -> Outcome[Any]:
        return Outcome.of(self._departure.plan() if server == self._server else None)

    def sum(self) -> Outcome[Plan]:
        """The plan of all of them: what each of them does goes on at the same time."""
        return drive(self._sum())

    async def _sum(self) -> Plan:
        cluster = self._hub.cluster
        plans = [self._departure.plan()]
        if cluster is not None and self._server:
            names = [name for name in cluster.nodes if name != cluster.node]
            for outcome in [cluster.post.ask(name, "plan", self._server, _ASK_SECONDS) for name in names]:
                try:
                    plan = await outcome.step()
                except (TimeoutError, BrokerError, CommandError):
                    continue
                if plan is not None:
                    plans.append(msgspec.convert(plan, Plan))
        return Plan(
            connections=sum(plan.connections for plan in plans),
            waiting=sum(plan.waiting for plan in plans),
            grace_seconds=max(plan.grace_seconds for plan in plans),
            window_seconds=max(plan.window_seconds for plan in plans),
            handlers=[name for plan in plans for name in plan.handlers],
            end_seconds=max(plan.end_seconds for plan in plans),
        )
