"""The service's configuration: the environment first, then ``.env``, then defaults that need nothing installed.

One frozen object, read once by ``settings.py``. Secrets are ``SecretStr`` and errors never repeat a value, so neither a
traceback nor a log can show a password. Servers are given in separate fields, because a URL with a password in it is
printed by whatever prints URLs. ``.env.example`` explains each variable.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parent.parent

Port = Annotated[int, Field(gt=0, lt=65_536)]


class Environment(BaseSettings):
    """Every variable that the service knows; the variable's name is the field's in upper case.

    Raises ``pydantic.ValidationError``, which names the variables that are wrong and repeats no value.
    """

    model_config = SettingsConfigDict(
        env_file=os.environ.get("ENV_FILE", str(BASE_DIR / ".env")),
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # Django
    debug: bool = False
    secret_key: SecretStr | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("localhost", "127.0.0.1", "[::1]")
    public_url: str = "http://localhost:8000"
    trusted_proxy_count: Annotated[int, Field(ge=0)] = 0
    data_folder: Path = BASE_DIR / "var"
    log_level: str = "INFO"

    # Database: SQLite in data_folder unless a PostgreSQL host is named.
    postgres_host: str | None = None
    postgres_port: Port = 5432
    postgres_db: str = "e_commerce_api"
    postgres_user: str = "e_commerce_api"
    postgres_password: SecretStr = SecretStr("")

    # Celery's broker: a folder in data_folder unless a Redis host is named.
    redis_host: str | None = None
    redis_port: Port = 6379
    redis_db: int = 0
    redis_password: SecretStr = SecretStr("")

    # The relay. EMAIL_TIMEOUT and the rest are the library's and Django's own words.
    email_host: str = "127.0.0.1"
    email_port: Port = 1025
    email_use_tls: bool = False
    email_use_ssl: bool = False
    email_host_user: str = ""
    email_host_password: SecretStr = SecretStr("")
    email_ssl_cafile: str | None = None
    default_from_email: str = "Shop <no-reply@shop.example>"
    email_timeout: PositiveFloat = 30
    email_connection_retry_attempts: PositiveInt = 3
    email_connection_retry_delay: Annotated[float, Field(ge=0)] = 2
    email_pool_size: PositiveInt = 10
    email_pool_timeout: PositiveFloat = 60

    # The long retries of the two mail tasks.
    email_task_retry_scale: Annotated[float, Field(ge=0)] = 1

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        """Let ALLOWED_HOSTS be written as people write it: separated by commas."""
        return tuple(host.strip() for host in value.split(",") if host.strip()) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        """Links in mails start with it, so it is a place and nothing more."""
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("PUBLIC_URL is a scheme and a host, like https://shop.example")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _require_shared_secret(self) -> Self:
        """What one process signs another must be able to check: processes on several machines need the same key."""
        if self.secret_key is None and (self.postgres_host or self.redis_host):
            raise ValueError("SECRET_KEY must be set where PostgreSQL or Redis is used: all processes must share it.")
        return self

    @property
    def https(self) -> bool:
        """Whether customers come by HTTPS: then no cookie and no page goes without it."""
        return self.public_url.startswith("https://")

    @property
    def broker_url(self) -> str:
        """Celery's broker, with the password where there is one: for Celery alone, never to be logged."""
        return self.redis_url(self.redis_db) or "filesystem://"

    def redis_url(self, database: int) -> str | None:
        """Return the URL of one of Redis' databases; None without a Redis."""
        if self.redis_host is None:
            return None
        password = self.redis_password.get_secret_value()
        login = f":{quote(password, safe='')}@" if password else ""
        return f"redis://{login}{self.redis_host}:{self.redis_port}/{database}"

    def signing_key(self) -> str:
        """Return SECRET_KEY, or a random one that is made once and kept in the data folder."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        return kept_random_key(self.data_folder / "secret_key")


def kept_random_key(path: Path) -> str:
    """Return the key in the file, which is made if it isn't there; processes that start together agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
            draft.write(secrets.token_urlsafe(48))
        try:
            os.link(draft.name, path)  # complete from its first moment on, and only one process wins
        except FileExistsError:
            pass
        finally:
            Path(draft.name).unlink()
    return path.read_text()
