"""Small git repositories."""

import subprocess
from pathlib import Path


def git(*command: str, folder: Path | None = None) -> str:
    """Run git as Ann, and fail if it fails."""
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false")
    answer = subprocess.run(("git", *identity, *command), check=True, capture_output=True, text=True, cwd=folder)
    return answer.stdout.strip()


def write(files: dict[str, str | bytes], folder: Path | None = None) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = (folder or Path()) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def commit(files: dict[str, str | bytes], message: str = "a commit", folder: Path | None = None) -> str:
    """Commit files in a folder, and return the commit."""
    write(files, folder)
    git("add", "-f", "--", *files, folder=folder)
    git("commit", "-qm", message, folder=folder)
    return git("rev-parse", "HEAD", folder=folder)
