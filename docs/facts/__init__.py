"""The pages and pictures that are made from the code, so that they cannot say something else.

Some of that code are models, which need Django's apps: outside of a project, the least that will do is set up here.
"""

from __future__ import annotations

import django
from django.conf import settings

if not settings.configured:
    settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "robust_email", "robust_email.outbox"])
    django.setup()
