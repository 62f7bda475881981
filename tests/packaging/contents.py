"""Run by `nox -s wheel`: the wheel holds the library, its type marker and nothing else.

python -I tests/packaging/contents.py WHEEL
"""

from __future__ import annotations

import sys
from zipfile import ZipFile


def check(wheel: str) -> None:
    """Raise AssertionError if something is in the wheel that should not be, or is missing from it."""
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
        entry_points = archive.read(next(name for name in names if name.endswith("/entry_points.txt"))).decode()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"robust_email"}, tops
    for needed in ("robust_email/py.typed", "robust_email/backend.py", "robust_email/smtp/submission.py"):
        assert needed in names, f"{needed} is missing"
    assert "License-Expression: BSD-3-Clause" in metadata
    assert [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line] == [
        "Requires-Dist: django>=5.2"
    ]
    assert "robust_email = robust_email.testing.pytest_plugin" in entry_points
    print(f"{wheel.rpartition('/')[2]}: {len(names)} files, only robust_email")


if __name__ == "__main__":
    check(sys.argv[1])
