"""Runs the blocks of one page, in order, as a reader would."""

from __future__ import annotations

import doctest
import logging
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any, Self

from django.core.management import call_command
from django.test import override_settings

from robust_email import conf, signals
from robust_email.checks import check_mailers, check_project
from robust_email.testing import Script, ScriptedServer
from robust_email.testing.notation import parse_fault
from tests.docs.pages import ROOT, Block

if TYPE_CHECKING:
    from pathlib import Path

BACKEND = "robust_email.backend.RobustSMTPEmailBackend"
SIGNALS = (signals.accepted, signals.deferred, signals.refused, signals.in_doubt)
QUICK = {"EMAIL_CONNECTION_RETRY_DELAY": 0.01}
"""A reader has the seconds that a test has not."""


class PageRun:
    """One page under way: its namespace, its relay, what its blocks logged and what they set."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is for files of test modules."""
        self._folder = folder
        self._stack = ExitStack()
        self._lines = _Lines()
        self.namespace: dict[str, Any] = {"__name__": "page", "manage": _manage}

    def __enter__(self) -> Self:
        """Start with Django's settings of the test project, our backend, and a relay that behaves."""
        self.new_relay("")
        self._set({"EMAIL_BACKEND": BACKEND, **QUICK})
        logger = logging.getLogger("robust_email")
        level = logger.level
        logger.addHandler(self._lines)
        logger.setLevel(logging.INFO)
        self._stack.callback(logger.setLevel, level)
        self._stack.callback(logger.removeHandler, self._lines)
        for signal in SIGNALS:
            self._stack.callback(setattr, signal, "receivers", signal.receivers[:])
            self._stack.callback(signal.sender_receivers_cache.clear)
        return self

    def __exit__(self, *_: object) -> None:
        """End the relays and undo the settings."""
        self._stack.close()

    # -- notes

    def new_relay(self, faults: str) -> None:
        """From now on the relay is another one, with these faults; what was set stays."""
        script = Script(faults=[parse_fault(fault.strip()) for fault in faults.split(";") if fault.strip()])
        self.relay = self._stack.enter_context(ScriptedServer(script))
        self.namespace["relay"] = self.relay
        self._set({})

    def _set(self, values: dict[str, Any]) -> None:
        here = {"EMAIL_HOST": self.relay.host, "EMAIL_PORT": self.relay.port}
        clear = {"EMAIL_USE_TLS": False, "EMAIL_USE_SSL": False, "EMAIL_HOST_USER": "", "EMAIL_HOST_PASSWORD": ""}
        self._stack.enter_context(override_settings(**{**values, **here, **clear}))

    def check(self, expression: str) -> None:
        """Hold a claim of the page against what the blocks did."""
        assert eval(expression, self.namespace), expression  # noqa: S307 - the page is ours

    # -- blocks

    def run(self, block: Block) -> None:
        """Run a block as its note says."""
        kind, _, rest = block.example.partition(" ")
        if block.language == "pycon":
            self._doctest(block)
        elif kind == "settings":
            self._settings(block, keep=rest != "alone")
        elif kind == "pytest":
            self._pytest(block)
        elif kind == "raises":
            self._raises(block, rest)
        elif kind == "log":
            self._logged(block)
        elif block.language == "python" and not block.example.startswith("not run, "):
            self._execute(block)

    def _here(self, block: Block) -> str:
        return block.code.replace("smtp.example.org", self.relay.host).replace("1025", str(self.relay.port))

    def _execute(self, block: Block) -> None:
        code = compile("\n" * block.line + self._here(block), "page", "exec", dont_inherit=True)
        exec(code, self.namespace)  # noqa: S102 - the page is ours

    def _raises(self, block: Block, name: str) -> None:
        try:
            self._execute(block)
        except Exception as error:
            if name not in {each.__name__ for each in type(error).__mro__}:
                raise
            self.namespace["error"] = error
        else:
            raise AssertionError(f"{name} was not raised")

    def _doctest(self, block: Block) -> None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        test = doctest.DocTestParser().get_doctest(self._here(block), self.namespace, "page", None, block.line)
        runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
        said: list[str] = []
        result = runner.run(test, out=said.append, clear_globs=False)
        self.namespace.update(test.globs)
        assert not result.failed, "".join(said)

    def _settings(self, block: Block, *, keep: bool) -> None:
        module: dict[str, Any] = {"__name__": "settings"}
        exec(compile(block.code, "settings", "exec", dont_inherit=True), module)  # noqa: S102 - the page is ours
        values = {name: value for name, value in module.items() if name.isupper()}
        for alias, mailer in values.pop("MAILERS", {}).items():
            _check_mailer(alias, mailer)
        ours = {name: value for name, value in values.items() if name.startswith("EMAIL_") or "FROM" in name}
        if any(name.startswith("EMAIL_") for name in ours):
            with override_settings(**ours):
                found = [message for message in [*check_mailers(), *check_project()] if message.is_serious()]
            assert [str(message) for message in found] == []
            if keep:
                self._set({**ours, **QUICK})

    def _pytest(self, block: Block) -> None:
        path = self._folder / f"test_line_{block.line}.py"
        path.write_text(block.code, encoding="utf-8")
        config, cache = str(ROOT / "pyproject.toml"), f"cache_dir={self._folder / 'cache'}"
        arguments = ["-q", "-c", config, f"--rootdir={self._folder}", "-o", cache]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments, str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _logged(self, block: Block) -> None:
        for line in block.code.splitlines():
            parts = re.split(r"\.\.\.|\[error details\]", line.strip())
            pattern = re.compile(".*".join(map(re.escape, parts)))
            assert any(pattern.fullmatch(logged) for logged in self._lines.logged), f"{line}\n{self._lines.logged}"


def _manage(*command: str) -> str:
    """Run a command of ``manage.py`` for a check, and return what it printed."""
    printed = StringIO()
    call_command(*command, stdout=printed)
    return printed.getvalue()


def _check_mailer(alias: str, mailer: dict[str, Any]) -> None:
    """Build a mailer of Django 6.1's form, whichever Django runs."""
    module, _, name = mailer["BACKEND"].rpartition(".")
    backend_class = getattr(import_module(module), name)
    if backend_class.__module__.startswith("robust_email"):
        assert set(mailer["OPTIONS"]) <= set(conf.OPTIONS)
        assert backend_class(alias=alias, **mailer["OPTIONS"]).config.host == mailer["OPTIONS"]["host"]


class _Lines(logging.Handler):
    """Keeps what was logged, without the level."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.logged.append(record.getMessage())
