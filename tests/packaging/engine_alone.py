"""Run by `nox -s wheel` where the wheel is installed without Django and Celery: the engine hands a mail over."""

from __future__ import annotations

from importlib.util import find_spec

from robust_email.smtp import Envelope, MailData, SmtpConfig, SubmissionClient
from robust_email.testing import ScriptedServer

CONTENT = b"Subject: alone\r\nMessage-ID: <alone@shop.example>\r\n\r\nNeither Django nor Celery.\r\n"


def main() -> None:
    """Submit one mail to a scripted server and compare the engine's report with the server's ledger."""
    for framework in ("django", "celery"):
        assert find_spec(framework) is None, f"{framework} is installed: this check would prove nothing"
    with ScriptedServer() as server:
        client = SubmissionClient(SmtpConfig(host=server.host, port=server.port))
        envelope = Envelope.of("shop@shop.example", ["customer@shop.example"])
        report = client.submit(envelope, MailData.from_bytes(CONTENT))
        client.close()
        accepted = list(server.accepted)
    assert report.accepted == ("customer@shop.example",), report
    assert [message.data for message in accepted] == [CONTENT], accepted
    print("robust_email.smtp handed a mail over without Django and Celery")


if __name__ == "__main__":
    main()
