"""The customer's account and the mail backend of this service."""
