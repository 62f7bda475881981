"""A worker that forks while it holds a connection, as Celery's prefork pool may; its argument is a task as JSON.

Prints what the parent, the child, and then the parent again see as connections in use, and exits 0 if all mail went.
"""

from __future__ import annotations

import json
import os
import sys

from robust_email.smtp import Envelope, MailData
from tests.governor.worker import client_for, say


def main() -> None:
    """Submit, fork, submit in the child, submit in the parent."""
    client = client_for(json.loads(sys.argv[1]))
    governor = client.governor
    assert governor is not None
    envelope = Envelope.of("shop@example.org", ["ann@example.org"])
    data = MailData.from_bytes(b"Subject: hi\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n")
    assert client.submit(envelope, data).accepted
    say(str(governor.state().connections))
    child = os.fork()
    if child == 0:
        accepted = client.submit(envelope, data).accepted
        say(str(governor.state().connections))
        os._exit(0 if accepted else 1)  # killed in its prime: nothing is given back
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert client.submit(envelope, data).accepted
    say(str(governor.state().connections))
    client.close()


if __name__ == "__main__":
    main()
