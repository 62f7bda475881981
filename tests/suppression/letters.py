"""Inbound mails as data: bounces in the forms that servers write, complaints, and what only looks like them."""

from __future__ import annotations

ANN, BOB = "ann@example.net", "bob@example.net"
OURS = "<1.order@shop.example>"


def group(address: str = ANN, status: str = "5.1.1", action: str = "failed", *more: str) -> str:
    """Return the fields about one recipient (RFC 3464 2.3)."""
    return "\n".join([f"Final-Recipient: rfc822; {address}", f"Action: {action}", f"Status: {status}", *more]) + "\n"


def bounce(
    *groups: str,
    message_id: str = OURS,
    to: str = "shop@example.org",
    status_type: str = "message/delivery-status",
    returned_type: str = "text/rfc822-headers",
    head: str = "",
) -> bytes:
    """Return a delivery status notification as Postfix writes one."""
    about = "\n".join(groups or (group(),))
    return f"""\
Return-Path: <>
Date: Tue, 24 Nov 2026 08:00:00 +0000
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
{head}MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4F2A.1/mx.example.net"

This is a MIME-encapsulated message.

--4F2A.1/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--4F2A.1/mx.example.net
Content-Description: Delivery report
Content-Type: {status_type}

Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4F2A
Arrival-Date: Tue, 24 Nov 2026 08:00:00 +0000

{about}
--4F2A.1/mx.example.net
Content-Description: Undelivered Message Headers
Content-Type: {returned_type}

Return-Path: <shop@example.org>
From: shop@example.org
Subject: Your order
Message-ID: {message_id}

--4F2A.1/mx.example.net--
""".replace("\n", "\r\n").encode()


def complaint(feedback: str = "abuse", rcpt: str = f"Original-Rcpt-To: <{ANN}>\n", message_id: str = OURS) -> bytes:
    """Return a complaint by feedback loop (RFC 5965)."""
    return f"""\
From: <abuse@mail.example.net>
To: <fbl@shop.example>
Subject: FW: Your order
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part1"

--part1
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.

--part1
Content-Type: message/feedback-report

Feedback-Type: {feedback}
User-Agent: SomeGenerator/1.0
Version: 1
{rcpt}
--part1
Content-Type: message/rfc822

From: <shop@example.org>
Message-ID: {message_id}
Subject: Your order

Thank you.
--part1--
""".encode()


ABSENCE_NOTE = b"""\
Return-Path: <>
From: ann@example.net
To: shop@example.org
Subject: Out of office: Your order
Auto-Submitted: auto-replied (vacation)
In-Reply-To: <1.order@shop.example>

550 5.1.1 I am away until Monday, and ann@example.net is unknown to me.
"""

FORWARDED_BY_A_PERSON = (
    b"""\
From: bob@example.net
To: shop@example.org
Subject: Fwd: Undelivered Mail Returned to Sender
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: text/plain

Look what I got.
--outer
Content-Type: message/rfc822

"""
    + bounce().replace(b"\r\n", b"\n")
    + b"""
--outer--
"""
)

WITH_A_DISCLAIMER = (
    b"""\
From: MAILER-DAEMON@mx.example.net
To: shop@example.org
Content-Type: multipart/mixed; boundary=outer

--outer
"""
    + bounce().replace(b"\r\n", b"\n").partition(b"MIME-Version: 1.0\n")[2]
    + b"""
--outer
Content-Type: text/plain

This gateway is not responsible for anything.
--outer--
"""
)

RECEIPT = b"""\
From: ann@example.net
To: shop@example.org
Content-Type: multipart/report; report-type=disposition-notification; boundary=b

--b
Content-Type: message/disposition-notification

Final-Recipient: rfc822; ann@example.net
Disposition: manual-action/MDN-sent-manually; displayed
--b--
"""
