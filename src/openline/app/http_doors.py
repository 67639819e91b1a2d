"""Which door over plain HTTP is at which path."""

from openline.hub.visits import Visits
from openline.transports.admission import Gate
from openline.transports.asgi import Endpoint
from openline.transports.doors import Doors
from openline.transports.event_stream import EventStreams
from openline.transports.exchange import Handler, endpoint
from openline.transports.http_line import HttpLines
from openline.transports.polling import Messages
from openline.transports.settings import HttpSettings, Paths
from openline.transports.tickets import Tickets
from openline.transports.waiting import Waiting

__all__ = ["http_doors"]


def http_doors(doors: Doors, gate: Gate, settings: HttpSettings, paths: Paths) -> dict[str, Endpoint]:
    """The endpoints of all doors over HTTP, by path below our mount."""
    visits, waiting = Visits(doors.hub), Waiting(doors, settings)
    tickets = Tickets(doors, settings)
    streams = EventStreams(doors, visits, tickets, settings, paths.lobby)
    messages = Messages(doors, visits, waiting, settings, paths.lobby)
    lines = HttpLines(doors, waiting, settings)
    methods: dict[str, dict[str, Handler]] = {
        paths.events: {"GET": streams.get, "HEAD": streams.head},
        paths.json: {"POST": lines.post, "DELETE": lines.delete},
        paths.ticket: {"POST": tickets.post},
        f"{paths.json}/events": {"GET": lines.events},
        f"{paths.json}/poll": {"GET": lines.poll},
        paths.messages: {"GET": messages.get, "HEAD": messages.get, "POST": messages.post},
    }
    return {path: endpoint(gate, path, handlers) for path, handlers in methods.items()}
