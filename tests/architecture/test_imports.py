"""Who imports whom: the contracts of pyproject.toml, and the engine where there is neither Django nor Celery."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"

IMPORT_ENGINE_WITH_FRAMEWORKS_BLOCKED = """
import importlib, pkgutil, sys

FRAMEWORKS = ("django", "celery", "kombu")

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FRAMEWORKS:
            raise ModuleNotFoundError(f"{name} is blocked by this test", name=name)

sys.meta_path.insert(0, Blocked())
import robust_email.smtp as engine
names = [module.name for module in pkgutil.walk_packages(engine.__path__, engine.__name__ + ".")]
for name in names:
    importlib.import_module(name)
assert not [name for name in sys.modules if name.partition(".")[0] in FRAMEWORKS]
print(len(names))
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run `command` at the repository's root, with the sources on the path, and keep what it prints."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_contracts_are_kept() -> None:
    """Every import-linter contract holds."""
    result = run(sys.executable, "-c", LINT_IMPORTS, "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


def test_engine_imports_where_django_and_celery_are_missing() -> None:
    """Every module of robust_email.smtp is importable without Django and without Celery."""
    result = run(sys.executable, "-c", IMPORT_ENGINE_WITH_FRAMEWORKS_BLOCKED)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 20


def test_the_package_itself_imports_nothing() -> None:
    """`import robust_email` brings in no other module of ours and no framework."""
    loaded = run(sys.executable, "-c", "import sys, robust_email; print(*sys.modules, sep='\\n')").stdout.split()
    heavy = [name for name in loaded if name.partition(".")[0] in {"django", "celery"}]
    ours = [name for name in loaded if name.startswith("robust_email.")]
    assert heavy == []
    assert ours == []


def readers_of_settings(folder: Path) -> list[str]:
    """Return the files below `folder` that import Django's settings object, by whatever name."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            by_name = isinstance(node, ast.ImportFrom) and node.module == "django.conf"
            by_module = isinstance(node, ast.Import) and any(
                alias.name.startswith("django.conf") for alias in node.names
            )
            if by_name or by_module:
                found.append(str(path.relative_to(folder)))
    return found


def test_only_conf_reads_the_settings() -> None:
    """Django's settings reach the library through conf.py alone."""
    assert set(readers_of_settings(ROOT / "src" / "robust_email")) <= {"conf.py"}


def test_another_reader_of_the_settings_is_noticed(tmp_path: Path) -> None:
    """Both forms of the import are found."""
    (tmp_path / "one.py").write_text("from django.conf import settings\n")
    (tmp_path / "two.py").write_text("import django.conf\n")
    (tmp_path / "three.py").write_text("from django.core import mail\n")
    assert readers_of_settings(tmp_path) == ["one.py", "two.py"]
