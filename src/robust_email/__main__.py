"""``python -m robust_email``: what the package offers in a terminal without Django, the doctor for now."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE: Final = "usage: python -m robust_email doctor URL ...   (doctor --help says more)\n"
_USAGE_ERROR: Final = 64


def main(arguments: Sequence[str]) -> int:
    """Run the command that is named first; returns its exit code."""
    if arguments[:1] == ["doctor"]:
        from robust_email.doctor.command import main as doctor

        return doctor(arguments[1:])
    asked = bool({"-h", "--help"} & set(arguments))
    (sys.stdout if asked else sys.stderr).write(_USAGE)
    return 0 if asked else _USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
