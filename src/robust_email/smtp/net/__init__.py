"""The only package that touches sockets, TLS and DNS. Everything here obeys a deadline, and nothing retries."""

from __future__ import annotations
