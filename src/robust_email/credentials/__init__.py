"""Where user names, passwords and tokens come from: files, the environment, functions, OAuth 2.0 servers.

Each of these is a ``CredentialsProvider`` of the engine: asked when a session is opened, told when a server refuses.
``conf`` makes them of ``EMAIL_CREDENTIALS``, ``EMAIL_OAUTH`` and ``EMAIL_OAUTH_ACCESS_TOKEN``.
"""
