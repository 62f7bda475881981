"""The SMTP protocol without input or output: octets in, octets out (RFC 5321 and its extensions)."""

from __future__ import annotations
