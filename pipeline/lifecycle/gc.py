"""What old runs take in MLflow, the DVC cache and the checkpoints: shown, then freed. What is unknown is kept."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import dag, digest, project, tasks
from pipeline.errors import UserError
from pipeline.lifecycle import dvc
from pipeline.params import Params
from pipeline.tasks.base import metric_for_best_model
from pipeline.tracking import git, lineage, old_runs
from pipeline.tracking import journal as journals
from pipeline.tracking.old_runs import Old, Wanted
from pipeline.tracking.tag_names import OUTPUT

_BEST = re.compile(r"best:(\d+)")
_HASH = re.compile(rb"(?m)^\+?[\s-]*md5: ([0-9a-f]{32}(?:\.dir)?)\s*$")


@dataclass(frozen=True)
class Keep:
    """What ``--keep`` says: aliases, and how many of the best runs."""

    aliases: tuple[str, ...]
    best: int

    @classmethod
    def parse(cls, text: str) -> "Keep":
        """From ``champion,best:5``.

        Raises:
            UserError: a word is neither an alias of a registered model nor ``best:N``.
        """
        words = [word.strip() for word in text.split(",") if word.strip()]
        counts = [int(match[1]) for word in words if (match := _BEST.fullmatch(word))]
        names = tuple(word for word in words if not _BEST.fullmatch(word))
        known = old_runs.aliases()
        # Before the first promotion there is no champion yet, which is no mistake.
        if wrong := [name for name in names if name not in {*known, "champion"}]:
            there = f"; there are {', '.join(sorted(known))}" if known else ""
            raise UserError(
                f"--keep {text}: no registered model has the alias '{wrong[0]}'{there}. Use aliases and best:5."
            )
        return cls(names, max(counts, default=0))


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of an experiment that no process holds (`training.abandoned`)."""

    folder: Path
    run: str | None
    recorded: bool


@dataclass(frozen=True)
class Plan:
    """What would be freed, and why the rest is kept.

    Attributes:
        cached: files of the DVC cache that no commit, working tree or kept run uses.
        untouched: what was left alone as a whole, and why.
        revision: a commit without a name, by which DVC keeps what the kept runs use.
    """

    runs: tuple[Old, ...]
    checkpoints: tuple[Checkpoints, ...]
    cached: tuple[Path, ...]
    untouched: tuple[str, ...]
    revision: str | None

    @property
    def freed(self) -> list[Old]:
        """The runs that go."""
        return [old for old in self.runs if old.reason is None]


def plan(keep: Keep, params: Params, checkpoints: Sequence[Checkpoints]) -> Plan:
    """Find out what would be freed, and change nothing.

    Raises:
        UserError: MLflow does not answer, or DVC cannot say what it would remove.
    """
    resumable = {found.run for found in checkpoints if found.run and not found.recorded}
    wanted = Wanted(keep.best, f"validation/{deciding(params)}", _models(), resumable)
    runs = old_runs.survey(params.tracking.experiment_name, wanted)
    known = {name: old for old in runs for name in (old.record.id, old.record.tags.get("reprise.journal"))}
    cache = dvc.cache(project.home())
    gone = [found for found in checkpoints if _is_needless(found, known.get(found.run), cache)]
    cached, untouched, revision = _cache(runs, cache)
    return Plan(tuple(runs), tuple(gone), cached, untouched, revision)


def deciding(params: Params) -> str:
    """The score by which runs are the best; of a task whose scores hang on the columns, those of the prepared rows."""
    kind = tasks.find(params.task)
    is_prepared = (project.PREPARED / "task.json").is_file()
    return metric_for_best_model(kind.load(project.PREPARED) if is_prepared else kind, params.train)


def free(found: Plan, remove_checkpoints: Callable[[Path], None]) -> None:
    """Free what was planned.

    Raises:
        UserError: MLflow or DVC does not.
    """
    whole = [old for old in found.freed if not old_runs.is_looked_at(old.record.tags)]
    old_runs.remove(whole)
    for old in found.freed:
        if old not in whole and old.artifacts is not None:
            shutil.rmtree(old.artifacts, ignore_errors=True)
    for gone in found.checkpoints:
        remove_checkpoints(gone.folder)
    if found.cached:
        assert found.revision is not None
        answer = dvc.run(project.home(), *_gc(found.revision), "--force")
        if answer.returncode:
            raise UserError(f"dvc gc did not free the cache: {dvc.last_line(answer)}")


def size(paths: Iterable[Path]) -> int:
    """Bytes of files and of all files below folders."""
    files = (inner for path in paths for inner in ([path] if path.is_file() else path.rglob("*")))
    return sum(file.lstat().st_size for file in files if file.is_file())


def _models() -> dict[str, str]:
    """The models that are in use: in the working tree, and where branches and tags stand."""
    found = {}
    tips = git.text("for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes", "refs/tags") or ""
    for name in tips.splitlines():
        lock = git.text("show", "--end-of-options", f"{name}:./{dag.LOCK}")
        if lock and (made := dag.locked_output(lock, project.BEST_MODEL)):
            found[made] = f"its model is that of {name.split('/', 2)[2]}"
    if project.BEST_MODEL.is_dir():
        found[digest.of_folder(project.BEST_MODEL)] = f"its model is in {project.BEST_MODEL}"
    return found


def _is_needless(found: Checkpoints, owner: Old | None, cache: Path) -> bool:
    """Whether the run of some checkpoints is known, and either goes, or has its model where DVC gives it back."""
    if owner is None:
        return False
    model = owner.record.tags.get(f"{OUTPUT}{project.BEST_MODEL.as_posix()}", "")
    return owner.reason is None or (found.recorded and _is_cached(cache, model))


def _cache(runs: Sequence[Old], cache: Path) -> tuple[tuple[Path, ...], tuple[str, ...], str | None]:
    """The files of the DVC cache that nothing uses; what is left alone; a commit that names what kept runs use."""
    home = project.home()
    if git.base() is None:
        return (), ("The DVC cache: without git, nothing says which older results are in use.",), None
    if not cache.is_relative_to(home):
        return (), (f"The DVC cache: {cache} is not in this project, and others may use it, too.",), None
    if journals.pending():
        return (), ("The DVC cache: runs that go on, or are not in MLflow yet, may use it. See: reprise sync",), None
    revision = _commit_of({value for value in _used(runs, cache) if _is_cached(cache, value)})
    answer = dvc.run(home, *_gc(revision), "--dry")
    if answer.returncode:
        raise UserError(f"dvc gc cannot say what it would remove: {dvc.last_line(answer)}")
    removed = re.findall(r"(?m)^Removing (.+)$", answer.stdout + answer.stderr)
    return tuple(map(Path, removed)), (), revision


def _gc(revision: str) -> tuple[str, ...]:
    """DVC's command: keep what the working tree and all commits use, and what the revision names."""
    return ("gc", "--workspace", "--all-commits", "--rev", revision)


def _other_trees() -> Iterator[Path]:
    """The project in git's other worktrees, such as those of `reprise checkout`, which share the cache."""
    below = git.text("rev-parse", "--show-prefix") or ""
    for line in (git.text("worktree", "list", "--porcelain") or "").splitlines():
        tree = Path(line.removeprefix("worktree "), below)
        if line.startswith("worktree ") and tree.is_dir() and tree.resolve() != project.home():
            yield tree


def _used(runs: Sequence[Old], cache: Path) -> Iterator[str]:
    """DVC's hashes of what runs that are not freed, other worktrees and experiments without a freed run use or made."""
    freed = [old.record for old in runs if old.reason is None]
    freed_ids, ours = {record.id for record in freed}, {old.record.id for old in runs}
    pipeline = (project.home() / dag.FILE).read_text(encoding="utf-8")
    for record in old_runs.everywhere():
        if record.id in freed_ids:
            continue
        made = {value for name, value in record.tags.items() if name.startswith(OUTPUT)}
        yield from made
        # On a server there are runs of other projects, too, whose data cannot be here.
        if record.id in ours or any(_is_cached(cache, value) for value in made):
            # In the lock that a run found, its own stage and what follows have the results of an earlier run.
            lock = (record.read(lineage.LOCK) or b"").decode()
            yield from _hashes(dag.without_results(lock, pipeline, "train").encode())
            yield from _hashes(record.read(lineage.PATCH) or b"")
    for tree in _other_trees():
        for file in (tree / dag.LOCK, *tree.rglob("*.dvc")):
            yield from _hashes(file.read_bytes() if file.is_file() else b"")
    gone = {record.tags.get("reprise.dvc.experiment") for record in freed}
    for commit, name in git.experiments():
        for path in git.names("ls-tree", "-r", "-z", "--name-only", commit) or () if name not in gone else ():
            if path.endswith((".dvc", dag.LOCK.name)):
                yield from _hashes(git.output("show", f"{commit}:./{path}") or b"")


def _hashes(text: bytes) -> Iterator[str]:
    yield from (found.decode() for found in _HASH.findall(text))


def _is_cached(cache: Path, value: str) -> bool:
    return (cache / "files" / "md5" / value[:2] / value[2:]).is_file()


def _commit_of(hashes: Iterable[str]) -> str:
    """A commit, of no branch, that holds one DVC file which names the hashes: `dvc gc --rev` keeps what it names."""
    outs = [f"- md5: {value}\n  hash: md5\n  path: kept-{place}\n" for place, value in enumerate(sorted(hashes))]
    text = "outs:\n" + "".join(outs) if outs else "outs: []\n"
    blob = git.given(text.encode(), "hash-object", "-w", "--stdin")
    tree = git.given(f"100644 blob {blob}\tkept.dvc\n".encode(), "mktree")
    return git.given(b"what reprise gc keeps\n", "commit-tree", tree)
