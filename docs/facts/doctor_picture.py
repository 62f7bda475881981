"""Draws ``pictures/doctor.svg``: a terminal with the doctor's report on a relay whose certificate has expired.

Run it to renew the picture (``python docs/facts/doctor_picture.py``). Everything in it is found on this machine, with
a server of the testing kit; only addresses and port are written as a reader would have them.
"""

from __future__ import annotations

import dataclasses
import io
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from robust_email.doctor import Examined, Plan, Surroundings, examine
from robust_email.doctor.remedies import Remedies
from robust_email.doctor.terminal import print_part, print_summary
from robust_email.smtp import Credentials, SmtpConfig, TlsMode, TlsPolicy
from robust_email.testing import Script, ScriptedServer
from robust_email.testing.certs import Certificate, CertificateAuthority

PICTURE = Path(__file__).parents[1] / "pictures" / "doctor.svg"
HOST, COMMAND = "smtp.example.com", "python manage.py email_doctor"
RECORDS = {
    "TXT shop.example.com": ("v=spf1 include:_spf.example.com -all",),
    "TXT _dmarc.shop.example.com": ("v=DMARC1; p=reject",),
    "MX shop.example.com": ("10 mx.example.com.",),
    "TXT s1._domainkey.shop.example.com": ("v=DKIM1; p=MIGf",),
}
_WEB_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def draw() -> str:
    """Return the SVG."""
    with tempfile.TemporaryDirectory() as folder:
        authority = CertificateAuthority(Path(folder))
        context = authority.server_context(Certificate.EXPIRED, HOST)
        with ScriptedServer(Script(starttls=context, accounts={"shop": "a password"})) as server:
            return _drawn(server.port, _plan(server.port, str(authority.ca_file)))


def _plan(port: int, cafile: str) -> Plan:
    def look_up(_: str, port: int, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    config = SmtpConfig(
        HOST, port, tls=TlsPolicy(TlsMode.STARTTLS, cafile=cafile), credentials=Credentials("shop", "a password")
    )
    around = Surroundings(
        resolv_conf=lambda: "search svc.cluster.local cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n",
        getaddrinfo=look_up,
        in_container=lambda: True,
        records=lambda name, kind: RECORDS.get(f"{kind} {name}", ()),
    )
    return Plan(config, "orders@shop.example.com", dkim_selectors=("s1",), surroundings=around)


def _drawn(port: int, plan: Plan) -> str:
    console = Console(record=True, width=100, file=io.StringIO(), highlight=False, force_terminal=True)
    report = examine(plan)
    parts = tuple(_as_a_reader_has_it(part, port) for part in report.examined)
    report = dataclasses.replace(report, endpoint=f"{HOST}:587", examined=parts)
    remedies = Remedies()
    console.print(f"Examining [bold]{report.endpoint}[/] (TLS: {report.tls})\n")
    for part in parts:
        print_part(console, part, remedies)
    print_summary(console, report)
    return _WEB_FONT.sub("", console.export_svg(title=COMMAND, unique_id="doctor"))


def _as_a_reader_has_it(part: Examined, port: int) -> Examined:
    findings = tuple(
        dataclasses.replace(
            finding,
            found=finding.found.replace(str(port), "587").replace("127.0.0.1", "192.0.2.25"),
            remedy=finding.remedy.replace(str(port), "587"),
        )
        for finding in part.findings
        if finding.code not in {"name-is-loopback", "resolver-loopback-in-container"}
    )
    return dataclasses.replace(part, findings=findings)


if __name__ == "__main__":
    PICTURE.write_text(draw() + "\n", encoding="utf-8")
