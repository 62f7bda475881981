"""compose.yaml and the Dockerfile, checked where no container engine runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OURS = ["migrate", "web", "celery", "beat"]


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Give the services of compose.yaml with YAML's merges applied."""
    yaml = pytest.importorskip("yaml")
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def test_the_worker_is_the_container_that_the_readme_names(services: dict[str, dict[str, Any]]) -> None:
    """`docker logs celery-1 -f` shows the Celery worker."""
    assert services["celery"]["container_name"] == "celery-1"
    assert "worker" in services["celery"]["command"]


def test_every_part_of_the_system_is_there(services: dict[str, dict[str, Any]]) -> None:
    """Web, worker, beat, PostgreSQL, Redis and a mail catcher."""
    assert set(services) == {*OURS, "postgres", "redis", "mail"}


@pytest.mark.parametrize("name", ["web", "celery", "beat", "postgres", "redis", "mail"])
def test_what_stays_up_says_whether_it_is_well(services: dict[str, dict[str, Any]], name: str) -> None:
    """Each lasting service has a health check with a time limit."""
    assert services[name]["healthcheck"]["test"]
    assert services[name]["healthcheck"]["timeout"].endswith("s")


def test_dependencies_exist_and_are_waited_for(services: dict[str, dict[str, Any]]) -> None:
    """A service waits for services that exist, until they are healthy or done."""
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            done = wait["condition"] == "service_completed_successfully"
            assert done or (wait["condition"] == "service_healthy" and "healthcheck" in services[name])


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_more_rights_than_they_need(services: dict[str, dict[str, Any]], name: str) -> None:
    """No capability, no new privilege, no writable root; the configuration comes from .env."""
    service = services[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["env_file"] == ".env"


def test_no_secret_is_written_down(services: dict[str, dict[str, Any]]) -> None:
    """Passwords and keys are references to .env, never values."""
    for service in services.values():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|TOKEN", key) or str(value).startswith("${"), key


def test_ports_are_open_to_this_machine_only(services: dict[str, dict[str, Any]]) -> None:
    """A published port is bound to the loopback address."""
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_named_volumes_are_declared(services: dict[str, dict[str, Any]]) -> None:
    """Each volume that a service mounts is declared at the end of the file."""
    yaml = pytest.importorskip("yaml")
    declared = set(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["volumes"])
    used = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert used == declared


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """Give the Dockerfile's lines."""
    return (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()


def copied_files(dockerfile: list[str]) -> set[str]:
    """Return what the image takes from the repository."""
    copies = [line.split()[1:-1] for line in dockerfile if line.startswith("COPY ") and "--from" not in line]
    return {name for names in copies for name in names}


def test_the_image_runs_without_privileges(dockerfile: list[str]) -> None:
    """The last stage of the image switches to an account of its own."""
    last_stage = dockerfile[max(number for number, line in enumerate(dockerfile) if line.startswith("FROM")) :]
    assert "USER app" in last_stage


def test_what_the_image_copies_is_there(dockerfile: list[str]) -> None:
    """Every file that the Dockerfile copies exists and is let in by .dockerignore."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied_files(dockerfile) <= {line[1:] for line in ignore if line.startswith("!")}
    assert [name for name in copied_files(dockerfile) if not (ROOT / name).exists()] == []
