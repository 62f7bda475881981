"""What is known of providers, each figure with its source, from ``robust_email.providers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facts.markdown import code, table
from robust_email.providers import PROVIDERS

if TYPE_CHECKING:
    from robust_email.providers import Provider

_MEBIBYTE = 1024 * 1024


def page() -> str:
    """Return the reference page."""
    return f"""# Providers

`EMAIL_PROVIDER` fills in host, port, TLS and the pool's limits, as far as a project does not set them, and a system
check compares what it sets with the profile that belongs to the host. Providers change their figures, and give accounts
different ones: each figure here has its source, and one that no source states is left out.

{chr(10).join(_section(each) for each in PROVIDERS)}"""


def _section(provider: Provider) -> str:
    example = f"{provider.name}:{provider.region}" if provider.region else provider.name
    ports = ", ".join(f"{port} ({'TLS' if tls else 'STARTTLS'})" for port, tls in provider.ports)
    facts = [
        ("Setting", code(f'EMAIL_PROVIDER = "{example}"')),
        ("Host", code(provider.host)),
        ("Ports", ports or str(provider.port)),
        ("Idle sessions end after", f"{provider.idle:g} s" if provider.idle else ""),
        ("Sessions at a time", str(provider.connections or "")),
        ("Messages per session", str(provider.messages_per_session or "")),
        ("What an account may submit", ", ".join(map(code, provider.rates))),
        ("Recipients of a message", str(provider.recipients or "")),
        ("Largest message", f"{provider.size / _MEBIBYTE:g} MiB" if provider.size else ""),
        ("Headers it replaces", ", ".join(map(code, provider.rewrites))),
    ]
    quirks = "".join(f"* {quirk}\n" for quirk in provider.quirks)
    sources = "".join(f"* {source.says}: <{source.url}>, read {source.read:%Y-%m-%d}\n" for source in provider.sources)
    known = table(("", "Known"), [fact for fact in facts if fact[1]])
    return f"## {provider.title}\n\n{known}\n{quirks}\nSources:\n\n{sources}"
