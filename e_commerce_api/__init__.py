"""The project of the reference service: an e-commerce API whose customers wait for their account mails.

The Celery application is imported here so that every process of the project knows its broker.
"""

from __future__ import annotations

from e_commerce_api.celery import app as celery_app

__all__ = ["celery_app"]
