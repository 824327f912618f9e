"""The tables of the documentation are what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from signalling import tables
from signalling.messages import MEANINGS, ClientMessage, Hello
from signalling.rooms.permissions import MAY_SEND, ROLES, tag_of


def test_the_page_has_every_table_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tables.main(["--check"]) == 0, "run python -m signalling.tables"
    page = tables.PATH.read_text(encoding="utf-8")
    for name, table in tables.tables().items():
        assert f"<!-- table: {name} -->\n{table}<!-- end -->" in page
    changed = tmp_path / "signalling.md"
    changed.write_text(page.replace("| `kick` | ● |", "| `kick` |  |"), encoding="utf-8")
    monkeypatch.setattr(tables, "PATH", changed)
    assert tables.main(["--check"]) == 1
    assert "signalling.md is out of date" in capsys.readouterr().err
    assert tables.main([]) == 0
    assert changed.read_text(encoding="utf-8") == page


def test_an_unknown_table_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        tables.render("<!-- table: nonsense -->\n<!-- end -->")


def test_the_table_of_messages_is_the_permissions_cell_by_cell() -> None:
    kinds = {tag_of(kind): kind for kind in get_args(ClientMessage) if kind is not Hello}
    lines = tables.tables()["messages"].splitlines()[2:]
    assert len(lines) == len(kinds)
    for line in lines:
        name, *cells = (cell.strip(" `") for cell in line.split("|")[1:-1])
        for role, cell in zip(ROLES, cells, strict=True):
            assert (cell == "●") is (kinds[name] in MAY_SEND[role]), (name, role)


def test_the_table_of_errors_names_each() -> None:
    assert all(f"| `{code}` |" in tables.tables()["errors"] for code in MEANINGS)
