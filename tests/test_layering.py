"""Imports point one way: integrations → {peer, signalling}, peer → native."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"native", "peer", "signalling", "integrations"}

# What each package may import of ours, itself aside; longer names are narrower.
ALLOWED = {
    "native": set(),
    "peer": {"native", "signalling.messages"},
    "signalling": set(),
    "integrations": {"peer", "signalling"},
}

# The `playcast` command starts both halves and what they are connected with, so it alone reaches
# over.
COMMANDS = ("peer/cli", "signalling/identity_options")


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Each imported module with its line; of `from a import b` both `a` and `a.b`."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def covers(allowed: str, module: str) -> bool:
    return module == allowed or module.startswith(allowed + ".")


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_is_below_it(package: str):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in modules_of(package)
        if not path.relative_to(ROOT).as_posix().startswith(COMMANDS)
        for line, module in imports_of(path)
        if module.split(".")[0] in OURS - {package}
        and not any(covers(allowed, module) for allowed in ALLOWED[package])
    ]
    assert wrong == []


def test_one_module_imports_the_compiled_core():
    importers = {
        path.relative_to(ROOT).as_posix()
        for folder in [*sorted(OURS), "bench", "tests"]
        for path in modules_of(folder)
        for _, module in imports_of(path)
        if covers("native._core", module)
    }
    assert importers == {"native/binding.py"}


def test_the_checks_see_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    module = tmp_path / "peer" / "inner" / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "import native.hub\nfrom signalling import rooms\nfrom .. import cli\n"
        "from .sibling import x\ndef f():\n    from native import _core\n"
    )
    assert {name for _, name in imports_of(module)} == {
        "native.hub",
        "signalling.rooms",
        "peer.cli",
        "peer.inner.sibling.x",
        "native._core",
    }


@pytest.mark.parametrize("header", sorted(p.name for p in ROOT.glob("native/src/*.h")))
def test_a_header_compiles_alone(header: str):
    result = subprocess.run(
        [
            "cc",
            "-std=c11",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fsyntax-only",
            "-xc",
            "-Inative/src",
            "-",
        ],
        input=f'#include "{header}"\n',
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_no_file_names_a_place_on_somebodys_machine():
    """Only what every machine has: no home folders, and no checkout's path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    place = re.compile(r"(?<![\w.$}~-])/(?:work|home|root|Users)/\w", re.ASCII)
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file() or path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match[0]}" for match in place.finditer(text)]
    assert found == []
