"""``python -m benchmarks [--quick] [--out FOLDER]``: measure, write JSON, a table and pictures, judge the claims."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Run everything; exit code 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes: fewer cells, three rounds")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    settings.configure(USE_TZ=True, DEFAULT_FROM_EMAIL="shop@example.org")
    django.setup()
    install_nodemailer()
    began = time.monotonic()
    result = measure_all(quick=arguments.quick)
    result["minutes"] = (time.monotonic() - began) / 60
    from benchmarks import report

    result["claims"] = report.judge(result)
    report.write(result, arguments.out)
    print(report.summary(result))
    return 0


def install_nodemailer() -> None:
    """The one peer from npm; without node it is left out, and the table says so."""
    folder = Path(__file__).parent
    if shutil.which("npm") and not (folder / "node_modules" / "nodemailer").is_dir():
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
        subprocess.run(command, cwd=folder, check=False, timeout=120)


def measure_all(*, quick: bool) -> dict[str, Any]:
    """All cells, growth, and rendering, as plain data."""
    from benchmarks import growth, outbox, plan
    from benchmarks.processes import Target, certificates, delayed, sink

    rows: list[dict[str, object]] = []
    rounds = 3 if quick else 5
    with tempfile.TemporaryDirectory() as name:
        certified = certificates(Path(name))
        for cell, kinds in plan.QUICK if quick else plan.FULL:
            rows += measure_cell(cell, kinds, certified.cafile, certified.certificate, rounds=rounds)
        with sink() as plain, sink("--certificate", certified.certificate) as secure:
            with delayed(plain, 50) as port:
                counts = [1, 4, 16] if quick else [1, 2, 4, 8, 16, 32]
                threads = growth.by_threads(Target("127.0.0.1", port), counts, 20, rounds)
            with delayed(plain, 20) as port:
                recipients = growth.by_recipients(Target("127.0.0.1", port), [1, 10, 100], rounds)
            with delayed(secure, 100) as port:
                cold = growth.cold(Target("127.0.0.1", port, certified.cafile), 100, rounds)
            memory = growth.memory(plain, 10_000 if quick else 100_000)
    return {
        "python": platform.python_version(),
        "django": django.get_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "rows": rows,
        "threads": threads,
        "recipients": recipients,
        "cold": cold,
        "memory": memory,
        "rendering": list(rendering()),
        "outbox": outbox.measure(quick=quick),
    }


def measure_cell(cell: Any, kinds: list[Any], cafile: str, certificate: str, *, rounds: int) -> list[dict[str, object]]:
    """One cell with its server and proxy; peers that are not here are left out."""
    from benchmarks import measure
    from benchmarks.processes import Target, delayed

    with server(cell.server, certificate if cell.secure else None) as port:
        if port is None:
            print(f"{cell.title}: not installed here, left out", file=sys.stderr)
            return []
        present = [kind for kind in kinds if kind.available() and (kind.speaks_tls or not cell.secure)]
        with delayed(port, cell.rtt) as proxy:
            target = Target("127.0.0.1", proxy, cafile if cell.secure else None)
            figures = measure.measure(cell, target, present, rounds=rounds, seconds=0.5)
    print(f"{cell.title}: " + ", ".join(f"{f.peer} {f.rate:.1f}" for f in figures.values()), file=sys.stderr)
    return [figure.as_row(cell) for figure in figures.values()]


@contextlib.contextmanager
def server(name: str, certificate: str | None) -> Iterator[int | None]:
    """The port of the server of that name, ``None`` where it is not installed."""
    from benchmarks.processes import sink, smtp_sink

    if name == "sink":
        with sink(*(["--certificate", certificate] if certificate else [])) as port:
            yield port
    elif name == "smtp-sink":
        with smtp_sink() as port:
            yield port
    else:
        with postfix() as port:
            yield port


@contextlib.contextmanager
def postfix() -> Iterator[int | None]:
    """A real Postfix: its queue on disk, its transport discard."""
    from benchmarks.processes import SYSTEM_PATH

    if not shutil.which("postfix", path=SYSTEM_PATH) or os.geteuid() != 0:  # its master starts as root only
        yield None
        return
    from tests.servers.postfix import postfix as start

    with start() as running:
        yield running.port


def rendering() -> Iterator[dict[str, Any]]:
    """``benchmarks/rendering.py`` on this Django, and on 6.1 where an interpreter for it is found."""
    script = Path(__file__).parent / "rendering.py"
    for python in filter(None, (Path(sys.executable), newest_django())):
        done = subprocess.run([str(python), str(script)], capture_output=True, text=True, check=True, cwd=ROOT)
        yield json.loads(done.stdout)


def newest_django() -> Path | None:
    """An environment with Django 6.1, made once; ``None`` without an interpreter that can run it."""
    from noxfile import put_pyenv_on_path

    put_pyenv_on_path()
    found = next(filter(None, map(shutil.which, ("python3.13", "python3.12", "python3.14"))), None)
    if found is None:
        return None
    folder = ROOT / ".cache" / "bench-django61"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        pins = str(ROOT / "requirements" / "django61.txt")
        subprocess.run([found, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", pins], check=True)
        paths = subprocess.run(
            [str(python), "-c", "import site; print(site.getsitepackages()[0])"],
            capture_output=True,
            text=True,
            check=True,
        )
        Path(paths.stdout.strip(), "robust_email.pth").write_text(f"{ROOT / 'src'}\n")
        (folder / ".ready").touch()
    return python


if __name__ == "__main__":
    sys.exit(main())
