"""Owns the code blocks of the pages: which there are, which make up a program, and what they say they print."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(
    r"^(?:<!-- (?P<word>[a-z ]+): (?P<about>.*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_IMPORT = re.compile(r"^(?:import|from) .*$", re.M)
_PRINTED = {
    "js": re.compile(r"console\.log\(.* // (.+)$|^ *// prints: (.+)$", re.M),
    "python": re.compile(r"\bprint\(.* # (.+)$|^ *# prints: (.+)$", re.M),
    "sh": re.compile(r"^# prints: (.+)$", re.M),
}
_CLIENTS = ("from websockets", "from openline.client", "import httpx", "import socketio", "Publisher(")
#: For pages that show no server of their own.
DEFAULT = 'from openline import Openline\n\nline = Openline()\nline.channel("chat:*", history=100, public=True)\n'


@dataclass(eq=False)
class Program:
    """Server code of a page: the block that makes the Openline, and those that add to it."""

    name: str
    text: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What ``openline serve`` is told."""
        return f"{self.name.removesuffix('.py')}:{'app' if re.search(r'^app = ', self.text, re.M) else 'line'}"


@dataclass(eq=False)
class Block:
    """One fenced block; ``word`` and ``about`` stand in the comment above it."""

    page: Path
    row: int
    language: str
    text: str
    word: str
    about: str
    program: Program

    def __str__(self) -> str:
        return f"{self.page.name}:{self.row}"

    @property
    def is_client(self) -> bool:
        """Python that talks to a server."""
        return self.language == "python" and any(words in self.text for words in _CLIENTS)

    @property
    def is_test(self) -> bool:
        """Python that pytest runs."""
        return self.language == "python" and re.search(r"^(async )?def test_", self.text, re.M) is not None

    @property
    def printed(self) -> Counter[str]:
        """The lines that its comments promise."""
        found = _PRINTED[self.language].finditer(self.text)
        return Counter((match[1] or match[match.lastindex or 1]).strip() for match in found)


def _blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    files = {m["about"]: m["text"] for m in _FENCE.finditer(text) if m["word"] == "file" and m["language"] != "python"}
    imports: list[str] = []
    program = Program("app.py", DEFAULT, files)
    blocks: list[Block] = []
    for match in _FENCE.finditer(text):
        row = text.count("\n", 0, match.start("text"))
        word, about, language, code = match["word"] or "", match["about"] or "", match["language"], match["text"]
        block = Block(page, row, language, code, word, about, program)
        if language == "python" and not block.is_client and not block.is_test:
            if re.search(r"^line = Openline\(", code, re.M):
                name = about if word == "file" else "app.py"
                program = block.program = Program(name, "\n".join(imports) + "\n", files | _beside(word, about))
            program.text += "\n" + code
            imports += _IMPORT.findall(code)
        blocks.append(block)
    return blocks


def _beside(word: str, about: str) -> dict[str, str]:
    if word != "same as":
        return {}
    return {file.name: file.read_text() for file in (ROOT / about).parent.iterdir() if file.suffix == ".html"}


@cache
def all_blocks() -> list[Block]:
    """Every fenced block of the README and of ``docs/``."""
    return [block for page in PAGES for block in _blocks_of(page)]


def blocks(language: str, *, page: str = "") -> list[Block]:
    """Those of one language that are to be run, of one page or of all."""
    return [b for b in all_blocks() if b.language == language and b.word != "not run" and page in ("", b.page.name)]
