"""docs/interop.md holds the table of formats.

``PYTHONPATH=tests python -m tests.interop.test_docs`` writes it there.
"""

from pathlib import Path

from jaxrnn.interop.formats import FORMATS

PATH = Path(__file__).parents[2] / "docs" / "interop.md"
HEAD = "| format | cell here | there | how exact |\n|---|---|---|---|\n"


def table():
    rows = []
    for name, form in FORMATS.items():
        for kind, held in form.cells.items():
            rows.append(f"| {name} | `{kind}` | `{held.name}` | {held.note} |\n")
        for reason in dict.fromkeys(form.refusals.values()):
            kinds = [f"`{kind}`" for kind, why in form.refusals.items() if why == reason]
            rows.append(f"| {name} | {', '.join(kinds)} | | impossible: {reason} |\n")
    return HEAD + "".join(rows)


def test_the_table_is_the_code_s():
    assert f"\n{table()}\n" in PATH.read_text(encoding="utf-8")


def main():
    """Writes the table in the place of the one that stands there."""
    before, found, after = PATH.read_text(encoding="utf-8").partition(HEAD)
    if not found:
        before, _, after = before.partition("TABLE\n")
    rest = after[after.index("\n\n") + 1 :] if found else after
    PATH.write_text(before + table() + rest, encoding="utf-8")


if __name__ == "__main__":
    main()
