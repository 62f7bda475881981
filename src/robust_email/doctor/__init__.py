"""The doctor: looks at a relay step by step, as the library would use it, and says what is wrong and what to do.

Framework-free, and read-only as far as the relay goes: a mail is submitted only if a recipient is given. ::

    report = examine(Plan(SmtpConfig("mail.example.org", 587, tls=TlsPolicy(TlsMode.STARTTLS))))
    report.cause.code, report.cause.remedy

``python -m robust_email doctor URL`` and ``manage.py email_doctor`` are thin shells around it. Start reading at
``examination``.
"""

from __future__ import annotations

from robust_email.doctor.causes import CAUSES
from robust_email.doctor.examination import PROBES, examine
from robust_email.doctor.findings import DoctorReport, Examined, Finding, Severity
from robust_email.doctor.plan import Plan, RecordsFailed, Surroundings

__all__ = [
    "CAUSES",
    "PROBES",
    "DoctorReport",
    "Examined",
    "Finding",
    "Plan",
    "RecordsFailed",
    "Severity",
    "Surroundings",
    "examine",
]
