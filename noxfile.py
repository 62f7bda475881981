"""Check the project where it will run: each supported Python with a Django that it can run, the wheel and nothing else.

``nox`` alone runs everything. ``make test`` and ``make lint`` are the same checks in ``.venv``, for every day.
The lists of requirements are made by ``nox -s lock``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nox
import nox.command

ROOT = Path(__file__).parent
REQUIREMENTS = ROOT / "requirements"
DIST = ROOT / ".cache" / "dist"

# Django 6.x needs Python 3.12, so the pairs are three and not nine.
PAIRS = [("3.11", "django52"), ("3.12", "django60"), ("3.13", "django61")]
MATRIX = [nox.param(python, django, id=f"{python}-{django}") for python, django in PAIRS]
# The reference service has one supported combination, the default one: `make test` runs its tests.
LIBRARY_TESTS = ["tests", "--ignore=tests/service", "--ignore=tests/architecture", "--ignore=tests/docs"]

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "imports", "tests", "minimum", "wheel", "docs"]


def put_pyenv_on_path() -> None:
    """Let nox find every interpreter that pyenv holds: its shims answer only for the version that is switched on."""
    if not shutil.which("pyenv"):
        return
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607 - found by PATH on purpose
    folders = sorted(str(folder) for folder in Path(root, "versions").glob("3.*/bin"))
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ["PATH"]])


put_pyenv_on_path()


@cache
def wheel() -> Path:
    """Build the wheel once for all sessions, with the pinned build backend of the environment that runs nox."""
    shutil.rmtree(DIST, ignore_errors=True)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(DIST), str(ROOT)]
    subprocess.run(command, check=True)  # noqa: S603 - our own command
    return next(DIST.glob("*.whl"))


def install(session: nox.Session, *names: str) -> None:
    """Install the pinned `names` from requirements/ and then the wheel, so that `src` plays no part."""
    files = [argument for name in names for argument in ("-r", str(REQUIREMENTS / f"{name}.txt"))]
    if files:
        session.install("--quiet", "--require-hashes", *files)
    session.install("--quiet", "--no-deps", "--force-reinstall", str(wheel()))


def run_library_tests(session: nox.Session) -> None:
    """Run the library's quick tests in parallel; arguments after ``--`` take their place.

    What failed is run once more by itself: a fault that is real fails twice, a busy machine's seldom does.
    """
    chosen = session.posargs or [*LIBRARY_TESTS, "-m", "not slow"]
    command = ["python", "-m", "pytest", "-q", "-o", f"cache_dir=.cache/pytest-{session.python}", *chosen]
    try:
        session.run(*command, "-n", "2")
    except nox.command.CommandFailed:
        session.log("Once more, what failed, alone")
        session.run(*command, "--last-failed", "--last-failed-no-failures", "none")


@nox.session
@nox.parametrize(["python", "django"], MATRIX)
def tests(session: nox.Session, django: str) -> None:
    """Test the wheel on one supported pair of Python and Django."""
    install(session, django, "service", "test")
    run_library_tests(session)


@nox.session(python="3.11")
def minimum(session: nox.Session) -> None:
    """Test the wheel with the oldest releases that pyproject.toml admits."""
    install(session, "minimum")
    run_library_tests(session)


@nox.session(python="3.11", name="wheel", reuse_venv=False)
def check_wheel(session: nox.Session) -> None:
    """Use the wheel as a stranger would: first where there is no Django and no Celery, then with Django."""
    install(session)
    session.run("python", "-I", "tests/packaging/contents.py", str(wheel()))
    session.run("python", "-I", "-W", "error", "tests/packaging/engine_alone.py")
    session.install("--quiet", "--require-hashes", "-r", str(REQUIREMENTS / "django52.txt"))
    session.run("python", "-I", "-W", "error", "tests/packaging/django_backend.py")


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.run("mypy")


@nox.session(venv_backend="none")
def imports(session: nox.Session) -> None:
    """Check who imports whom."""
    session.run("lint-imports", "--no-logo", "--cache-dir", ".cache/import-linter")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.run("make", "docs", external=True)


@nox.session(python=["3.11", "3.12"], default=False)
def lock(session: nox.Session) -> None:
    """Pin requirements/*.in with hashes. Django 6 is resolved by Python 3.12, the rest by the oldest Python."""
    session.install("--quiet", "pip-tools>=7.6")
    names = ["build", "django52", "service", "test", "dev", "docs", "bench", "minimum"]
    for name in names if session.python == "3.11" else ["django60", "django61"]:
        target = REQUIREMENTS / f"{name}.txt"
        options = ["--quiet", "--generate-hashes", "--strip-extras", "--annotation-style=line", "--no-header"]
        silent = [f"--no-emit-{what}" for what in ("index-url", "trusted-host", "find-links", "options")]
        # Django is chosen beside service.txt and the others, never by them.
        own_django = name.startswith(("build", "django", "minimum"))
        django = [] if own_django else ["--unsafe-package=django", "--no-allow-unsafe"]
        with session.chdir(REQUIREMENTS):
            session.run("pip-compile", *options, *silent, *django, *session.posargs, "-o", target.name, f"{name}.in")
        pinned = target.read_text().partition("\n# WARNING: The following packages were not pinned")[0].strip()
        target.write_text(f"# Made by `nox -s lock` from {name}.in.\n{pinned}\n")
