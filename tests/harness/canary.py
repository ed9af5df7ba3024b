"""Secrets planted in every run, and the search for them in everything that comes out.

Each Gateway of the suites gets a provider key of this kind, and every key that it makes itself is added; what
it logs, answers, stores and measures is searched when it ends (Gateway.check_end)."""

import base64
import urllib.parse

# Of every alphabet that the codings treat differently; long enough that nothing is hit by chance.
PROVIDER_KEY = "cnry-Pr0v/Key+5f2a9c81d7e34b60=qXz8"
# A prefix this long of a secret is a leak, too.
PREFIX = 16


def forms(secret):
    """What a secret may look like in an output: raw, its beginning, reversed, URL, base64, hexadecimal."""
    raw = secret.encode()
    found = {
        "raw": raw,
        "prefix": raw[:PREFIX],
        "reversed": raw[::-1],
        "reversed prefix": raw[:PREFIX][::-1],
        "url": urllib.parse.quote(secret, safe="").encode(),
        "hex": raw.hex().encode(),
    }
    # The three ways that a text can lie in base64, without the digits that neighbours change.
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw)
        found[f"base64 {shift}"] = text[-(-8 * shift // 6) : (shift + len(raw)) * 8 // 6]
    return found


def hits(secrets, data):
    """(secret's first letters, form) of every secret that is in `data`."""
    return [
        (secret[:8], form)
        for secret in secrets
        for form, pattern in forms(secret).items()
        if pattern in data
    ]


def private_part(key):
    """Of a key of ours, "gk-<id>-<secret>-<check>", only the secret is one."""
    return key.split("-")[2]
