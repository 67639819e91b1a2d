"""The command: its options, and the steps of a run, each with its progress."""

import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import click
import msgspec

from openline.cli.bench.load import Load
from openline.cli.bench.plan import EVENT, LEAST_BYTES, Plan, allow_descriptors
from openline.cli.bench.process import Processes, processes_at, processes_given
from openline.cli.bench.report import Report, ServerFigures
from openline.cli.client import client_options, printable, run, say
from openline.client import connect
from openline.client.socket import address_of
from openline.errors import CommandError

try:
    import uvloop
except ImportError:  # on Windows there is none
    uvloop = None  # type: ignore[assignment]

__all__ = ["bench"]

_MOST: Final = 1_000_000


@click.command(short_help="Put load on a server, and see whether everything arrives.")
@client_options
@click.option(
    "--connections", type=click.IntRange(1, _MOST), default=100, show_default=True, metavar="N", help="Lines."
)
@click.option(
    "--channels",
    type=click.IntRange(1, _MOST),
    default=1,
    show_default=True,
    metavar="N",
    help="The connections are divided among them.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="N",
    help="Publications per second, all channels together.",
)
@click.option(
    "--size",
    type=click.IntRange(LEAST_BYTES, 1 << 20),
    default=100,
    show_default=True,
    metavar="BYTES",
    help="Of a payload.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it is published.",
)
@click.option(
    "--prefix",
    default="chat:bench-",
    show_default=True,
    help="Channels are this and a number; this client must be allowed to publish there.",
)
@click.option(
    "--pid",
    type=click.IntRange(1),
    multiple=True,
    help="A process of the server, for CPU and memory; repeatable. On this machine it is found without.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def bench(url: str, token: str | None, pid: tuple[int, ...], as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Put load on a server: open connections, publish, and count what arrives.

    In each channel one connection publishes and every member receives. Lost,
    duplicated and out of order are counted for each member, latencies from
    sending to receiving. Exit status 1 where anything was wrong.

    \b
    openline bench
    openline bench --connections 2000 --channels 20 --rate 500
    openline bench --url wss://chat.example.com --token T --prefix load:
    openline bench --duration 60 --json > report.json
    """
    seconds = options.pop("duration")
    plan = Plan(url=address_of(url), token=token, seconds=seconds, **options)
    allow_descriptors(plan.connections)
    server = processes_given(pid) if pid else processes_at(plan.url)
    if server is not None:
        server.check_descriptors(plan.connections)
    reports: list[Report] = []

    async def work() -> None:
        await _try_out(plan)
        reports.append(await _measure(plan, server))

    run(work(), uvloop.new_event_loop if uvloop else None)
    for report in reports:
        _tell(report, as_json=as_json)
        if not report.is_good:
            raise SystemExit(1)


async def _try_out(plan: Plan) -> None:
    """One line that does all that many will do, so that what is wrong is said by itself.

    Raises what :mod:`openline.client` raises.
    """
    async with connect(plan.url, token=plan.token, patience=0.0) as line:
        channel = plan.name(0)
        try:
            await line.subscribe(channel)
            await line.publish(channel, EVENT, msgspec.json.decode(plan.payload("", 0, 0)))
        except CommandError as error:
            raise click.ClickException(
                printable(f"The server refused {channel}: {error} --prefix says what the channels are called.")
            ) from error


async def _measure(plan: Plan, server: Processes | None) -> Report:
    load = Load(plan)
    memory = server.resident_bytes() if server else 0
    try:
        begun = time.monotonic()
        with _progress("connecting", plan.connections) as tick:
            await load.open(tick)
        opened = time.monotonic()
        grown = (server.resident_bytes() - memory) / plan.connections if server else 0.0
        cpu, own_cpu = server.cpu_seconds() if server else 0.0, time.process_time()
        with _progress("publishing", plan.publications) as tick:
            seconds = await load.publish(tick)
            await load.settle()
        took = time.monotonic() - opened
        figures = _figures(server, server.cpu_seconds() - cpu, took, grown, load.tally.delivered) if server else None
        return _report(plan, load, opened - begun, seconds, 100 * (time.process_time() - own_cpu) / took, figures)
    finally:
        await load.close()


def _figures(server: Processes, cpu: float, took: float, grown: float, delivered: int) -> ServerFigures:
    return ServerFigures(
        pids=server.pids,
        cpu_percent=100 * cpu / took,
        cpu_us_per_delivery=cpu * 1e6 / delivered if delivered else None,
        rss_bytes=server.resident_bytes(),
        rss_bytes_per_connection=grown,
    )


def _report(
    plan: Plan, load: Load, connecting: float, seconds: float, own_cpu: float, server: ServerFigures | None
) -> Report:
    first = load.refused[0] if load.refused else None
    return Report(
        plan=plan,
        connect_seconds=connecting,
        seconds=seconds,
        planned=plan.publications,
        published=sum(load.published),
        expected=load.expected,
        delivered=load.tally.delivered,
        lost=load.lost(),
        duplicated=load.tally.duplicated,
        out_of_order=load.tally.out_of_order,
        closed=len(load.closed),
        first_close=load.closed[0].text if load.closed else None,
        refused=len(load.refused),
        first_refusal=f"{first.code}: {first.message}" if first else None,
        latencies=load.tally.latencies,
        own_cpu_percent=own_cpu,
        server=server,
    )


def _tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        click.echo(printable_lines(report.as_text()))
    for remark in report.remarks():
        say(remark)


def printable_lines(text: str) -> str:
    """See :func:`~openline.cli.client.printable`; lines stay lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


@contextmanager
def _progress(label: str, length: int) -> Generator[Callable[[int], object]]:
    """A bar beside the output, where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=length, label=f"{label:10}", file=sys.stderr) as bar:
        yield bar.update
