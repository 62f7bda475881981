#!/usr/bin/env python
"""Run Django's commands with the reference service's settings."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run the command in ``sys.argv``."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "e_commerce_api.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
