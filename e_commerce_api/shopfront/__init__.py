"""The pages that a person sees: the account page, and for developers a preview of every mail."""
