"""The commands of ``openline``, and what they say when something is wrong: one line that names the remedy."""

import click

from openline.cli.bench import bench
from openline.cli.demo import demo
from openline.cli.drain import drain
from openline.cli.publish import publish
from openline.cli.serve import serve
from openline.cli.tail import tail
from openline.errors import OpenlineError
from openline.version import VERSION

__all__ = ["main"]


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OpenlineError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="openline")
def main() -> None:
    """Openline, the real-time server for Python."""


main.add_command(serve)
main.add_command(demo)
main.add_command(tail)
main.add_command(publish)
main.add_command(drain)
main.add_command(bench)
