"""Codes of the SMTP dialogue, from the greeting to the reply to a whole mail."""

from __future__ import annotations

from typing import Final

from robust_email.doctor.causes.cause import Cause
from robust_email.doctor.findings import Severity

_OK, _INFO, _WARNING, _ERROR = Severity.OK, Severity.INFO, Severity.WARNING, Severity.ERROR

DIALOGUE: Final = {
    # -- anywhere
    "busy-421": Cause(
        _ERROR,
        "421: the server is at its limits, or has had enough connections or mail from here. Mail is tried again by "
        "itself; if this lasts, lower EMAIL_POOL_SIZE and the number of workers, or ask the operator for more.",
    ),
    "connection-closed": Cause(
        _ERROR,
        "The server hung up without a word. Its log says why; rate limits, block lists and crashes look like it.",
    ),
    "reply-silent": Cause(
        _ERROR,
        "The server stopped answering. Raise EMAIL_TIMEOUT if it is only slow; otherwise its operator must look. A "
        "firewall that forgets connections looks like this too.",
    ),
    "reply-dripping": Cause(
        _ERROR,
        "Octets come, a whole reply does not, within the time: an overloaded server or a tarpit, which slows clients "
        "it distrusts. Ask its operator to let this address in; raising EMAIL_TIMEOUT only waits longer.",
    ),
    "reply-slow": Cause(
        _WARNING,
        "Each new session waits that long, so let sessions be reused (EMAIL_POOL_MAX_IDLE). Servers delay clients "
        "whose address has no name in DNS (PTR), or look them up in block lists: ask the operator.",
    ),
    "not-smtp": Cause(_ERROR, "Check EMAIL_HOST and EMAIL_PORT: something else than an SMTP server answers there."),
    "port-speaks-http": Cause(
        _ERROR,
        "A web server or an HTTP proxy answers. Check EMAIL_PORT; a provider's web API is another thing than its SMTP "
        "relay. Behind a proxy, SMTP needs a way around it.",
    ),
    # -- greeting and EHLO
    "greeting": Cause(_OK),
    "greeting-silent": Cause(
        _ERROR,
        "The connection stands and no greeting comes: a firewall or proxy that took it and cannot pass it on, or a "
        "server that looks us up in DNS for longer than EMAIL_TIMEOUT.",
    ),
    "greeting-closed": Cause(
        _ERROR,
        "The server hung up before a greeting: this address is blocked there (fail2ban, block list, allow list), or "
        "the service behind a port mapping does not run.",
    ),
    "greeting-refused": Cause(
        _ERROR, "The host takes no mail from here: a block list, or it is no mail server for clients. See its words."
    ),
    "greeting-try-later": Cause(_ERROR, "The server takes no session now. Mail is tried again; see its words."),
    "ehlo": Cause(_OK),
    "ehlo-refused": Cause(
        _ERROR, "The server dislikes our name. Set EMAIL_LOCAL_HOSTNAME to this machine's full name in DNS."
    ),
    "ehlo-unknown": Cause(
        _WARNING,
        "Only HELO is understood: no TLS, no AUTH, no SIZE. Something in between may be rewriting the dialogue.",
    ),
    "no-pipelining": Cause(
        _INFO, "Each mail takes four round trips or more instead of one or two; nothing to do here."
    ),
    "size-small": Cause(
        _WARNING, "Larger mails are refused before anything is sent. Ask for a higher limit, or send links, not files."
    ),
    # -- AUTH
    "auth": Cause(_OK),
    "auth-unused": Cause(_INFO, "Set EMAIL_HOST_USER and EMAIL_HOST_PASSWORD if the relay should know who you are."),
    "auth-missing": Cause(
        _ERROR,
        "The server offers no AUTH here. Port 25 often has none: use 587; or leave EMAIL_HOST_USER empty if this relay "
        "lets you in by address.",
    ),
    "auth-needs-tls": Cause(_ERROR, "The server offers AUTH only over TLS. Set EMAIL_USE_TLS = True (port 587)."),
    "auth-in-clear-only": Cause(
        _ERROR,
        "The server offers AUTH before STARTTLS and no longer after it: its configuration is upside down. Its operator "
        "must offer AUTH under TLS; the password is not sent in clear.",
    ),
    "auth-clear-text": Cause(
        _ERROR,
        "The password would cross the network unencrypted and was not sent. Set EMAIL_USE_TLS (port 587) or "
        "EMAIL_USE_SSL (port 465).",
    ),
    "auth-no-common-mechanism": Cause(
        _ERROR,
        "Server and client have no SASL mechanism in common. XOAUTH2 and OAUTHBEARER need EMAIL_OAUTH_ACCESS_TOKEN; "
        "EMAIL_AUTH_MECHANISMS may be too narrow.",
    ),
    "auth-no-credentials": Cause(
        _ERROR, "What gives the password or token (a token server, a secret manager) did not give one: look there."
    ),
    "auth-credentials-unusable": Cause(
        _ERROR, "The user name, password or token cannot be used as they are; the words say why."
    ),
    "auth-refused": Cause(
        _ERROR,
        "User name or password are wrong for this server. Check both where this process reads them (quotes, spaces, a "
        "`$` eaten by the shell or by compose.yaml, where it is written `$$`).",
    ),
    "auth-needs-app-password": Cause(
        _ERROR,
        "The account's own password is not taken: make an app password, or use OAuth (EMAIL_OAUTH_ACCESS_TOKEN).",
    ),
    "auth-switched-off": Cause(
        _ERROR, "SMTP AUTH is switched off for this account or tenant; its administrator switches it on."
    ),
    "auth-try-later": Cause(
        _ERROR, "The server cannot check passwords now, or has seen too many wrong ones. Mail is tried again by itself."
    ),
    "auth-broken": Cause(_ERROR, "The server's side of AUTH does not follow its mechanism; try another one."),
    # -- the envelope
    "envelope": Cause(_OK),
    "envelope-not-tried": Cause(_INFO, "Say who mail is from: DEFAULT_FROM_EMAIL, or --from."),
    "sender-malformed": Cause(_ERROR, "DEFAULT_FROM_EMAIL is no e-mail address."),
    "login-required": Cause(
        _ERROR, "530: the server wants a log-in first. Set EMAIL_HOST_USER and EMAIL_HOST_PASSWORD."
    ),
    "tls-required": Cause(_ERROR, "530: the server wants TLS first. Set EMAIL_USE_TLS = True (port 587)."),
    "sender-refused": Cause(
        _ERROR,
        "This relay or account may not send for that address. Use an address of its domain in DEFAULT_FROM_EMAIL, or "
        "have the address verified at the provider (Send As, verified identities).",
    ),
    "sender-deferred": Cause(
        _ERROR, "The server does not take mail from this address now; it is tried again by itself."
    ),
    "relay-denied": Cause(
        _ERROR,
        "The server does not relay for us. Log in (EMAIL_HOST_USER), use its submission port (587), or have this "
        "machine's address allowed (Postfix: mynetworks).",
    ),
    "recipient-refused": Cause(_ERROR, "The server refuses this recipient; its words say why."),
    "recipient-unknown": Cause(_ERROR, "No such mailbox there. Try --to with an address that exists."),
    "mailbox-full": Cause(
        _WARNING, "That mailbox is full; others are not affected. Mail to it is tried again by itself."
    ),
    "greylisted": Cause(
        _WARNING,
        "The server takes first mails only after a wait of minutes. They are tried again by themselves; if they must "
        "go at once, have this address let in, or use a provider's relay.",
    ),
    "server-full": Cause(_ERROR, "452: the server has no room for mail now. Its operator must look."),
    "size-refused": Cause(_ERROR, "The server refuses a mail of this size; see the SIZE it offers."),
    # -- a real mail
    "mail-accepted": Cause(_OK, "Accepted: the server took responsibility. Whether it arrives, see in the mailbox."),
    "mail-unfit": Cause(_ERROR, "The server lacks what this mail needs; see the words."),
    "mail-refused": Cause(
        _ERROR, "Refused for its content or by policy: see the server's words, and SPF, DKIM, DMARC below."
    ),
    "mail-deferred": Cause(_ERROR, "The server did not take it now; such mail is tried again by itself."),
    "mail-in-doubt": Cause(
        _ERROR,
        "The mail was handed over whole and its reply never came: the server may have it. Give the reply more time "
        "(EMAIL_FINAL_REPLY_TIMEOUT): scanners take theirs before they answer.",
    ),
}
