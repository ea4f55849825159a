"""The layers of the design, and what each package promises to leave alone."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    p for package in ("assistant", "tools", "finetune") for p in (ROOT / package).rglob("*.py")
)
ALLOWED_EXTRA = {
    "gradio": ("assistant/ui/",),
    "openai": ("assistant/brains/",),
    "langchain_openai": ("assistant/brains/",),
    "chromadb": ("tools/memory/",),
    "torch": ("tools/models/", "finetune/", "assistant/router/learn.py"),
    "transformers": ("tools/models/", "finetune/"),
    "peft": ("tools/models/", "finetune/"),
    "bitsandbytes": ("tools/models/", "finetune/"),
}


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    tops = {m.split(".")[0] for m in imports(path)}
    layer = name.split("/")[0]
    forbidden = {
        "tools": {"assistant", "finetune"},
        "assistant": {"finetune"},
        "finetune": {"assistant"},
    }[layer]
    assert not tops & forbidden, f"{name} imports {tops & forbidden}"
    assert "tests" not in tops
    for library, places in ALLOWED_EXTRA.items():
        if library in tops:
            assert name.startswith(places), f"{name} imports {library}"


def test_any_module_of_the_assistant_can_be_imported_first() -> None:
    """No circle of imports that holds only in one order."""
    script = """
import importlib, pkgutil, sys
import assistant.build
names = [m.name for m in pkgutil.walk_packages(assistant.__path__, "assistant.")]
for name in names:
    if not name.startswith(("assistant.ui", "assistant.router.learn")) and "__main__" not in name:
        for old in [m for m in sys.modules if m.split(".")[0] == "assistant"]:
            del sys.modules[old]
        importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 320
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "no module docstring"


@pytest.mark.parametrize("package", ["assistant", "tools", "finetune"], ids=lambda p: p)
def test_all_names_what_is_public(package: str) -> None:
    for info in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        declared = set(getattr(module, "__all__", ()))
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        defined = {
            n.name
            for n in tree.body
            if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")
        }
        assert all(hasattr(module, name) for name in declared), info.name
        assert defined <= declared or ".cli" in info.name, (
            f"{info.name} defines {defined - declared} and does not name it in __all__"
        )


@pytest.mark.parametrize(
    "statement", ["import assistant.agent", "import assistant", "import tools.registry"]
)
def test_light_imports_stay_light(statement: str) -> None:
    heavy = "{'torch', 'transformers', 'gradio', 'chromadb', 'peft', 'sqlalchemy'}"
    if "registry" in statement or "agent" in statement:
        heavy = "{'torch', 'transformers', 'gradio', 'chromadb', 'peft'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["assistant", "finetune"])
def test_help_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['{module}', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as done: assert not done.code\n"
        "heavy = {'torch', 'transformers', 'gradio', 'chromadb', 'langchain_core', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr.strip().endswith("[]"), done.stderr
    assert "Usage" in done.stdout
