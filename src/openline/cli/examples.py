"""The examples, as ``openline demo`` shows them: each as it is, and a page that has all of them and their code."""

from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from typing import Final

from openline.app.openline import Openline
from openline.app.pages import Page, text_page, tree

__all__ = ["FOLDER", "examples", "gallery"]

#: Where they are, below the demo.
FOLDER: Final = "/examples"
NAMES: Final = ("ticker", "dashboard", "notifications", "whiteboard", "game")
_MISSING: Final = text_page(
    "The examples are not part of this installation: in a copy of the sources, src/openline/examples is a link to the "
    "folder examples, which this system could not make. They run by themselves: openline serve examples.game.app:line\n"
)


def examples() -> dict[str, Openline]:
    """The examples by name, imported, each with its code beside its page; none where the package lacks them."""
    folder = files("openline").joinpath("examples")
    if not folder.is_dir():
        return {}
    found: dict[str, Openline] = {}
    for name in NAMES:
        line: Openline = import_module(f"openline.examples.{name}.app").line
        code = {f"/{file}": folder.joinpath(name, file).read_bytes() for file in ("app.py", "index.html")}
        line.add_pages({path: Page(text, "text/plain; charset=utf-8") for path, text in code.items()})
        found[name] = line
    return found


def gallery(found: Mapping[str, Openline]) -> dict[str, Page]:
    """The page that shows them, and its files."""
    if not found:
        return {FOLDER: _MISSING, f"{FOLDER}/": _MISSING}
    pages = tree(files("openline").joinpath("web", "gallery"), f"{FOLDER}/")
    pages[FOLDER] = pages[f"{FOLDER}/"] = pages[f"{FOLDER}/index.html"]
    return pages
