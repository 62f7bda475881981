"""``manage.py create_customer``: register a customer from a terminal, as the API does."""

from __future__ import annotations

import getpass
import secrets
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from authentication.verification.services import register_customer


class Command(BaseCommand):
    """Creates the account and has the verification mail sent; a second call for one address only mails again."""

    help = "Register a customer and mail the verification code."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the address and where the password comes from."""
        parser.add_argument("email")
        parser.add_argument(
            "--random-password",
            action="store_true",
            help="Choose a password that nobody knows; the customer sets one by password reset.",
        )

    def handle(self, *_args: object, **options: Any) -> None:  # noqa: ANN401 - Django's own signature
        """Register; says what happens next."""
        password = secrets.token_urlsafe(24) if options["random_password"] else getpass.getpass()
        try:
            validate_email(options["email"])
            register_customer(email=options["email"], password=password)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write("Registered. The verification mail is queued for the worker.")
