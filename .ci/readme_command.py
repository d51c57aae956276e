"""Print a command of README.md as it stands there: `python .ci/readme_command.py NAME`.

A command is the fenced bash block on the lines right after `<!-- command: NAME -->`.
"""

import pathlib
import re
import sys

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(
    r"^<!-- command: (?P<name>\S+) -->[ \t]*\n\s*?```bash[ \t]*\n(?P<text>.*?)^```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


def commands(markdown: str) -> dict[str, str]:
    """The marked blocks by name, refusing a name that is used twice."""
    found: dict[str, str] = {}
    for match in BLOCK.finditer(markdown):
        if match["name"] in found:
            sys.exit(f"README.md: the command {match['name']!r} is marked twice")
        found[match["name"]] = match["text"]
    return found


def main() -> None:
    """Print the one block asked for, or say on stderr what is missing and fail."""
    if len(sys.argv) != 2:
        sys.exit("usage: python .ci/readme_command.py NAME")
    name = sys.argv[1]
    if not README.is_file():
        sys.exit(f"no README.md in {README.parent.name}/")
    found = commands(README.read_text(encoding="utf-8"))
    if not found.get(name, "").strip():
        sys.exit(
            f"README.md has no command {name!r}: expected `<!-- command: {name} -->` followed by a "
            f"fenced bash block that is not empty; it has {sorted(found) or 'none'}"
        )
    sys.stdout.write(found[name])


if __name__ == "__main__":
    main()
