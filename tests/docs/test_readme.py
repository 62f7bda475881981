"""The README keeps what people were told to look for, word for word."""

from __future__ import annotations

from tests.docs.pages import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

LOG_LINES = (
    "SMTP connection established successfully on attempt 1",
    "SMTP connection error on attempt 1/3: [error details]",
    "SMTP connection established successfully on attempt 2",
    "Task authentication.verification.send_verification_email[xxx] succeeded in Xs: {'status': 'success', ...}",
)
ROLLBACK = """If you need to revert to standard Django SMTP backend:

```python
# In settings.py
EMAIL_BACKEND = 'django.core.mail.backends.smtp.EmailBackend'
```

And update Celery task retry settings back to:

```python
retry_kwargs={'max_retries': 3}
```
"""


def without_comments(text: str) -> str:
    """Return the text as GitHub shows it."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("<!--"))


def test_the_log_lines_are_word_for_word() -> None:
    """Each line stands on a line of its own."""
    lines = README.splitlines()
    assert [line for line in LOG_LINES if line not in lines] == []


def test_the_way_back_is_word_for_word() -> None:
    """Whoever wants to leave finds the words he was given."""
    assert ROLLBACK in without_comments(README) + "\n"


def test_the_two_commands_come_first() -> None:
    """What it is, then the two commands, before anything else."""
    first = README.partition("## ")[0]
    assert "make demo" in first
    assert "make test" in first
