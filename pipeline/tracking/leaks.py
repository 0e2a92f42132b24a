"""What looks like a secret in a file that is about to be kept where others read it."""

import re
from fnmatch import fnmatch
from pathlib import PurePosixPath

from pipeline.tracking import values

# Files that are made to hold secrets.
_NAMES = [".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "id_rsa*", "id_dsa*", "id_ecdsa*"]
_NAMES += ["id_ed25519*", ".netrc", "_netrc", ".pypirc", ".npmrc", ".git-credentials", "credentials", "credentials.*"]
_EXAMPLES = ["*.example", "*.sample", "*.template"]

# What issuers of tokens begin them with.
_KINDS = {
    "a private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "an AWS access key": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "a GitLab token": rb"\bgl(?:pat|dt|rt|cbt|ptt)-[\w\-]{20,}",
    "a Hugging Face token": rb"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "a Slack token": rb"\bxox[abeoprs]-[\w\-]{10,}",
    "a Google API key": rb"\bAIza[\w\-]{35}",
    "a package index token": rb"\b(?:pypi-AgE[\w\-]{50,}|npm_[A-Za-z0-9]{36})",
    "a Databricks token": rb"\bdapi[0-9a-f]{32}\b",
    "an API key": rb"\bsk-[A-Za-z0-9_\-]{20,}",
    "a signed web token": rb"\beyJ[\w\-]{10,}\.eyJ[\w\-]{10,}\.[\w\-]{10,}",
    "a password in an address": rb"://[^/\s:@\"'<>{}$*]+:[^/\s@\"'<>{}$*]+@[\w.\-\[]",
}
_KINDS_FOUND = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}
_NAME = rb"(?i:password|passwd|passphrase|secret|(?:auth|access|refresh|api|bearer|hf|hub|git\w*)_?token)"
_KEY = rb"(?i:(?:api|access|secret|private|account|encryption|auth)_?key|secret_?access_?key|credentials?|token)"
# A literal in quotes is one in any language. Without quotes it may be code: only settings files have such values.
_QUOTED = rb"[\"']?\s*[:=]\s*[rbuf]?([\"'])(?P<value>[^\"'\s]{%d,})\1"
_BARE = rb"[\"']?\s*[:=]\s*(?P<value>[^\s\"'#,;]{%d,})"
_SETTINGS = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".env", ".properties", ".json", ".sh", ".local", "")
# What stands for a secret without being one: a variable, a placeholder, nothing.
_PLACEHOLDER = re.compile(rb"(?i)[$<{\[*%(]|null\b|none\b|true\b|false\b|your|x{3,}|\.{3}|change.?me|os\.|env")
_LONG, _SHORT = 12, 6


def by_name(path: str) -> str | None:
    """Why a file of that name is taken for a secret; None if it is not."""
    name = PurePosixPath(path).name.lower()
    if any(fnmatch(name, pattern) for pattern in _NAMES) and not any(fnmatch(name, kind) for kind in _EXAMPLES):
        return "its name is that of a file with secrets"
    return None


def by_content(path: str, content: bytes) -> str | None:
    """What in a file, or in the change of one, looks like a secret; None if nothing does. It is not repeated."""
    for kind, pattern in _KINDS_FOUND.items():
        if pattern.search(content):
            return f"it holds what looks like {kind}"
    if any(secret.encode() in content for secret in values.secret_values()):
        return "it holds the value of a secret environment variable"
    return "it sets a password, token or key to a literal" if _sets_one(path, content) else None


def _sets_one(path: str, content: bytes) -> bool:
    forms = (_QUOTED, _BARE) if PurePosixPath(path).suffix.lower() in _SETTINGS else (_QUOTED,)
    for form in forms:
        if any(_is_literal(found["value"]) for found in re.finditer(_NAME + form % _SHORT, content)):
            return True
        # "token" and "key" are words of this field as well: there, only what looks drawn by lot counts.
        if any(_is_drawn(found["value"]) for found in re.finditer(_KEY + form % _LONG, content)):
            return True
    return False


def _is_literal(value: bytes) -> bool:
    return not _PLACEHOLDER.match(value)


def _is_drawn(value: bytes) -> bool:
    return _is_literal(value) and bool(re.search(rb"\d", value) and re.search(rb"[A-Za-z]", value))
