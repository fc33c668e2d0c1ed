"""The import graph of hlens: no cycles, and no reaching into another package's private modules.

``python tests/test_imports.py`` also lists the small modules that only one other module uses.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import hlens

ROOT = Path(hlens.__file__).parent
# One file a plug-in, and entry points: short files with one importer are their design.
PLUG_INS = ("domains", "judges", "baselines", "behaviours", "figures", "report.sections")

Graph = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """File of each module of hlens, by its dotted name."""
    named = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def import_graph() -> Graph:
    """The modules that each module names in an import, wherever in the file the import is."""
    files = modules()
    return {name: set(_imports(name, path, files)) - {name} for name, path in files.items()}


def _imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = [] if not node.level else package.split(".")[: 1 - node.level or None]
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # `from package import name`: a module of it, or itself
                submodule = f"{origin}.{alias.name}"
                if submodule in known or origin in known:
                    yield submodule if submodule in known else origin


def cycles(graph: Graph) -> list[list[str]]:
    """Strongly connected components of two or more modules (Tarjan 1972), each sorted."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    components = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for imported in sorted(graph[module]):
            if imported not in order:
                visit(imported)
            if imported in stack:
                lowest[module] = min(lowest[module], lowest[imported])
        if lowest[module] == order[module]:
            start = stack.index(module)
            components.append(sorted(stack[start:]))
            del stack[start:]

    for module in graph:
        if module not in order:
            visit(module)
    return sorted(component for component in components if len(component) > 1)


def private_imports(graph: Graph) -> list[str]:
    """Imports of a module ``_x`` from outside the package that it belongs to."""
    return sorted(
        f"{importer} imports {imported}"
        for importer, imports in graph.items()
        for imported in imports
        for package, _, module in [imported.rpartition(".")]
        if module.startswith("_") and not f"{importer}.".startswith(f"{package}.")
    )


def single_use(graph: Graph, most: int = 60) -> list[str]:
    """Modules shorter than `most` lines that exactly one module of their own package imports."""
    importers = defaultdict(set)
    for importer, imports in graph.items():
        for imported in imports:
            importers[imported].add(importer)
    listed = []
    for name, path in modules().items():
        package = name.rpartition(".")[0]
        inside = [one for one in importers[name] if one == package or one.startswith(f"{package}.")]
        lines = len(path.read_text(encoding="utf-8").splitlines())
        plug_in = package.removeprefix("hlens.").startswith(PLUG_INS)
        if lines < most and len(inside) == 1 and not plug_in and path.name[0] != "_":
            outside = len(importers[name]) - 1
            listed.append(f"{name} ({lines} lines): {inside[0]}, and {outside} outside")
    return listed


def test_no_import_cycle() -> None:
    """No module imports itself through others.

    Counted are all import statements: at the top of a file, under ``TYPE_CHECKING`` and inside
    functions. A function-level import that keeps ``import hlens`` light is fine, but it too must
    lead downwards: one that exists to dodge a cycle is a cycle here. Not counted are the package
    that Python runs on the way to a submodule, and modules imported by a computed name
    (`hlens.lookup`, the public names of ``hlens``).
    """
    found = cycles(import_graph())
    assert not found, "import cycles: " + "; ".join(" <-> ".join(cycle) for cycle in found)


def test_private_modules_stay_in_their_package() -> None:
    found = private_imports(import_graph())
    assert not found, "private modules imported from another package: " + "; ".join(found)


def test_cycles_are_found_wherever_the_import_is(tmp_path: Path) -> None:
    for name, text in {
        "a": "from hlens.b import x",
        "b": "def f():\n    import hlens.c",
        "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a",
        "d": "from hlens import a",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    files = {f"hlens.{path.stem}": path for path in tmp_path.glob("*.py")}
    graph = {name: set(_imports(name, path, files)) for name, path in files.items()}
    assert cycles(graph) == [["hlens.a", "hlens.b", "hlens.c"]]
    graph["hlens.d"] = {"hlens.figures._theme"}
    assert private_imports(graph) == ["hlens.d imports hlens.figures._theme"]
    assert not private_imports({"hlens.figures.explorer": {"hlens.figures._theme"}})


if __name__ == "__main__":
    whole = import_graph()
    for title, found in {
        "cycles": [" <-> ".join(cycle) for cycle in cycles(whole)],
        "private modules across packages": private_imports(whole),
        "short modules with one importer in their package": single_use(whole),
    }.items():
        sys.stdout.write("\n  ".join([f"{title}:", *found]) + "\n")
