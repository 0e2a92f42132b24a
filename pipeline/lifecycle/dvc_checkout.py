"""What DVC needs in a folder that a commit was checked out to: the cache, the remotes and the data of the project."""

import configparser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline import dag
from pipeline.lifecycle import dvc

_FOLDER = Path(".dvc")
SETTINGS = _FOLDER / "config.local"
# Settings that hold a path, which DVC takes from the folder of the file that they stand in.
_PATHS = {"url", "dir", "credentialpath", "configpath", "keyfile", "cert_path", "key_path"}


def share(project: Path, folder: Path) -> None:
    """Give a folder the cache, the remotes and the other settings of a project, in its config.local."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([project / _FOLDER / "config", project / SETTINGS], encoding="utf-8")
    for section in settings.sections():
        for name in _PATHS & set(settings[section]):
            value = settings[section][name]
            if "://" not in value:
                path = (project / _FOLDER / Path(value).expanduser()).resolve()
                settings[section][name] = str(path)
    if not settings.has_section("cache"):
        settings.add_section("cache")
    settings["cache"]["dir"] = str(dvc.cache(project))
    with (folder / SETTINGS).open("w", encoding="utf-8") as file:
        settings.write(file)


def keep_to_itself(folder: Path) -> None:
    """Give a folder a cache of its own, so that what is made in it lands in no other."""
    dvc.run(folder, "cache", "dir", "--local", str((folder / _FOLDER / "cache").resolve()))


def bring(folder: Path) -> Iterator[str]:
    """Bring the data that DVC tracks into a folder, from the cache or else from the remote.

    Yields:
        A line for each file or folder of the user that could not be had. Outputs of stages can be made again.
    """
    found = sorted(path for path in folder.rglob("*.dvc") if path.is_file())
    pointers = [path for path in found if all(is_below(folder, out) for out, _ in _outs(path))]
    yield from (
        f"{path.relative_to(folder)}: it names a place out of the folder" for path in found if path not in pointers
    )
    lock = folder / dag.LOCK
    stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {}) if lock.is_file() else {}
    kept = [
        name for name, made in stages.items() if all(is_below(folder, folder / out["path"]) for out in made["outs"])
    ]
    # By name: left to itself, DVC does not look for files in folders that git ignores.
    targets = [*(str(path.relative_to(folder)) for path in pointers), *kept]
    if not targets:
        return
    dvc.run(folder, "checkout", "--allow-missing", *targets)
    tried = "the cache does not have it, and there is no remote"
    if any(_missing(pointers)) and dvc.run(folder, "remote", "list").stdout.split():
        answer = dvc.run(folder, "pull", "--allow-missing", *targets)
        why = f" ({dvc.last_line(answer)})" if answer.returncode else ""
        tried = f"neither the cache nor the remote has it{why}"
    for path, value in _missing(pointers):
        yield f"{path.relative_to(folder)} (DVC's hash {value}): {tried}"


def _missing(pointers: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """What the pointers name and is not there, or not as a whole, with its hash."""
    for path, out in (found for pointer in pointers for found in _outs(pointer)):
        files = [inner for inner in path.rglob("*") if inner.is_file()] if path.is_dir() else [path]
        if not path.exists() or len(files) < out.get("nfiles", 1):
            yield path, out.get("md5", "none")


def _outs(pointer: Path) -> list[tuple[Path, dict[str, Any]]]:
    """What a pointer names: each path, with what it says of it."""
    said = yaml.safe_load(pointer.read_text(encoding="utf-8"))
    return [(pointer.parent / said.get("wdir", "") / out["path"], out) for out in said.get("outs", ())]


def is_below(root: Path, path: Path) -> bool:
    """Whether what is written to the path lands below the root: neither dots nor links lead out."""
    return not path.is_symlink() and path.parent.resolve().is_relative_to(root.resolve())
