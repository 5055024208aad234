"""Addresses of servers: those of the environment, what an address may hold, and how it is shown."""

import ipaddress
import os
import re
from urllib.parse import urlsplit

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")  # in the name of a variable of the environment
_CREDENTIAL = re.compile(rf"{SECRET.pattern}|CREDENTIAL|JWT|_PAT$|ORGANI[SZ]ATION|_ORG(_|$)|PROJECT|HEADERS")
SHORTEST = 8  # characters of a secret; what is shorter stands in many texts


def secrets():
    """Values of the environment that only a provider's own host may have, by variable.

    Keys, tokens, secrets, passwords, organizations, projects, and the values of headers that are sent with every call.
    """
    found = {}
    for name, value in os.environ.items():
        if _CREDENTIAL.search(name.upper()):
            values = re.findall(r":\s*(.+)", value) if "HEADERS" in name.upper() else [value.strip()]
            found |= {f"{name}" if i == 0 else f"{name} {i + 1}": v for i, v in enumerate(values) if len(v) >= SHORTEST}
    return found


def of_environment():
    """Addresses that the environment gives, by provider."""
    found = {}
    given = [item for item in os.environ.items() if item[0].endswith(("_API_BASE", "_BASE_URL"))]
    for variable, value in sorted(given, reverse=True):  # X_BASE_URL before X_API_BASE, which wins
        named = re.fullmatch(r"(\w+?)_(API_BASE|BASE_URL)", variable)
        if named and value:
            found[named.group(1).lower()] = value
    return found


def host(address):
    """Name of an address's host in lower case; None where there is none."""
    return (urlsplit(address).hostname or "").lower() or None if address else None


def is_loopback(name):
    """Whether a host is this machine.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost.example.org")
    (True, False)
    """
    try:
        return name == "localhost" or ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


def refused(address):
    """Why an address may not be used, for it is stored and shown; None where it may.

    Parameters
    ----------
    address : str

    Examples
    --------
    >>> refused("http://127.0.0.1:8000/v1") is None
    True
    >>> refused("http://me:word@host/v1")
    'it holds a name or password'
    """
    parts = urlsplit(address)
    if "@" in parts.netloc:
        return "it holds a name or password"
    if parts.query or parts.fragment or "?" in address or "#" in address:
        return "it holds a query, in which a key could stand"
    if any(looks_secret(part) for part in re.split(r"[/;=,]", parts.path)):
        return "a part of its path looks like a key"
    return None


def looks_secret(text):
    """Whether a text is a key of the environment, or looks like one: long, of letters and digits that spell nothing.

    Examples
    --------
    >>> looks_secret("sk-abcdef123456"), looks_secret("openai"), looks_secret("deployments")
    (True, False, False)
    >>> looks_secret("8f14e45fceea167a5a36dedd4bea2543"), looks_secret("meta-llama-3.1-70b-instruct")
    (True, False)
    """
    if any(len(value) >= 8 and value in text for name, value in os.environ.items() if SECRET.search(name)):
        return True
    if re.match(r"(sk|pk|hf|gsk|xai|ghp|key|token|secret|bearer)[-_ .][\w*.-]{8,}|AIza[\w-]{8,}", text, re.IGNORECASE):
        return True
    runs = re.findall(r"[A-Za-z0-9]{16,}", text)
    return any(len(re.findall(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])", run)) >= 3 for run in runs)
