"""Runs the jobs of a GitHub workflow as its YAML has them: `run:` lines by bash, the few actions by what they do."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(==|!=|&&|\|\||[!(),])|([A-Za-z_][\w.-]*)|(\d+))")
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


@dataclass
class Result:
    """What a job came to: `success`, `failure` or `skipped`; its outputs; and all that its steps printed."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)
    said: str = ""


@dataclass
class Forge:
    """One repository on a forge, and the machine that runs its jobs.

    Attributes:
        origin: the bare repository.
        folder: where checkouts, artifacts and homes lie.
        contexts: `vars`, `secrets`, `github`, `inputs`.
        programs: a folder that comes first on PATH.
        interfere: what happens to the step `train` while it runs.
    """

    workflow: Mapping[str, Any]
    origin: Path
    folder: Path
    contexts: dict[str, Any]
    programs: Path
    variables: dict[str, str] = field(default_factory=dict)
    interfere: Callable[["subprocess.Popen[str]"], None] | None = None

    def run(self, commit: str, **contexts: Any) -> dict[str, Result]:
        """All jobs, in the order of the file."""
        results: dict[str, Result] = {}
        for name in self.workflow["jobs"]:
            results[name] = self.job(name, commit, results, **contexts)
        return results

    def job(self, name: str, commit: str, before: Mapping[str, Result], **contexts: Any) -> Result:
        """One job, in a fresh checkout and a fresh folder for temporary files; its home is what the runner keeps."""
        job = self.workflow["jobs"][name]
        needed = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        context = {**self.contexts, **contexts}
        context["needs"] = {
            other: {"result": found.result, "outputs": found.outputs} for other in needed for found in [before[other]]
        }
        condition = str(job.get("if", "true"))
        unfinished = any(before[other].result != "success" for other in needed)
        if (unfinished and "cancelled()" not in condition) or not truth(evaluate(condition, context)):
            return Result("skipped")
        for key in ("runs-on", "timeout-minutes", "environment"):
            self._filled(job.get(key, ""), context)
        workspace, temporary = self.folder / "work", self.folder / "temp"
        for folder in (workspace, temporary):
            shutil.rmtree(folder, ignore_errors=True)
        temporary.mkdir(parents=True)
        context |= {"runner": {"temp": str(temporary), "environment": "self-hosted"}, "steps": {}}
        context["github"] = {**context["github"], "sha": commit, "token": "of-the-forge"}
        said = ""
        for step in job["steps"]:
            if not truth(evaluate(str(step.get("if", "true")), context)):
                continue
            outcome = self._step(step, workspace, temporary, context)
            said += outcome.said
            if "id" in step:
                context["steps"][step["id"]] = {"outputs": outcome.outputs}
            if outcome.result != "success":
                return Result("failure", self._outputs(job, context), said)
        return Result("success", self._outputs(job, context), said)

    def _outputs(self, job: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, str]:
        return {name: self._filled(value, context) for name, value in job.get("outputs", {}).items()}

    def _step(self, step: Mapping[str, Any], workspace: Path, temporary: Path, context: Mapping[str, Any]) -> Result:
        given = {name: self._filled(value, context) for name, value in step.get("with", {}).items()}
        if "uses" in step:
            action = step["uses"].split("@")[0]
            _ACTIONS[action](self, given, workspace)
            return Result("success")
        process = self.start(step, workspace, temporary, context)
        if self.interfere is not None and step.get("id") == "train":
            self.interfere(process)
        said, _ = process.communicate(timeout=900)
        outputs = temporary / "outputs"
        lines = outputs.read_text().splitlines() if outputs.exists() else []
        outputs.unlink(missing_ok=True)
        result = "success" if process.returncode == 0 else "failure"
        return Result(result, dict(line.split("=", 1) for line in lines), said)

    def start(
        self, step: Mapping[str, Any], workspace: Path, temporary: Path, context: Mapping[str, Any]
    ) -> "subprocess.Popen[str]":
        """Start a step's `run:` with the variables that a runner gives it."""
        assert "${{" not in step["run"], f"{step.get('name')}: an expression in a script is an injection; use env"
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        own = {
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "GITHUB_OUTPUT": str(temporary / "outputs"),
            "GITHUB_STEP_SUMMARY": str(temporary / "summary"),
            "RUNNER_TEMP": str(temporary),
            **self.variables,
            **{name: self._filled(value, context) for name, value in step.get("env", {}).items()},
        }
        script = temporary / "script.sh"
        script.write_text(step["run"])
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["bash", "-e"]
        return subprocess.Popen(
            [*shell, str(script)],
            cwd=workspace if workspace.exists() else temporary,
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _filled(self, value: object, context: Mapping[str, Any]) -> str:
        return _EXPRESSION.sub(lambda found: text(evaluate(found[1], context)), str(value))

    def checkout(self, given: Mapping[str, str], workspace: Path) -> None:
        """A clone without history, as the action makes it: shallow, with a detached head."""
        reference = given.get("ref") or self.contexts["github"]["sha"]
        subprocess.run(["git", "init", "-q", str(workspace)], check=True)
        for command in (
            ["remote", "add", "origin", f"file://{self.origin}"],
            ["fetch", "-q", "--depth=1", "origin", reference],
            ["checkout", "-q", "FETCH_HEAD"],
        ):
            subprocess.run(["git", *command], cwd=workspace, check=True)

    def upload(self, given: Mapping[str, str], workspace: Path) -> None:
        """Keep a folder as an artifact."""
        shutil.rmtree(self.folder / "artifacts" / given["name"], ignore_errors=True)
        shutil.copytree(workspace / given["path"], self.folder / "artifacts" / given["name"])

    def download(self, given: Mapping[str, str], workspace: Path) -> None:
        """Give an artifact back."""
        shutil.copytree(self.folder / "artifacts" / given["name"], workspace / given["path"])


_ACTIONS: dict[str, Callable[[Forge, Mapping[str, str], Path], None]] = {
    "actions/checkout": Forge.checkout,
    "actions/setup-python": lambda forge, given, workspace: None,
    "actions/cache": lambda forge, given, workspace: None,
    "actions/upload-artifact": Forge.upload,
    "actions/download-artifact": Forge.download,
}


def read(path: Path) -> dict[str, Any]:
    """A workflow."""
    values: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)
    return values


def truth(value: object) -> bool:
    """Whether GitHub takes a value for true."""
    return bool(value)


def text(value: object) -> str:
    """A value as GitHub writes it into a string."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    """The value of an expression, of those that the workflow uses: names, texts, `== != && || !` and functions."""
    inner = _EXPRESSION.fullmatch(expression.strip())
    found = _TOKEN.finditer(inner[1] if inner else expression)
    tokens = [match[0].strip() for match in found]
    value = _or(tokens, context)
    assert not tokens, f"{expression}: cannot read {tokens}"
    return value


def _or(tokens: list[str], context: Mapping[str, Any]) -> Any:
    value = _and(tokens, context)
    while tokens[:1] == ["||"]:
        tokens.pop(0)
        other = _and(tokens, context)
        value = value or other
    return value


def _and(tokens: list[str], context: Mapping[str, Any]) -> Any:
    value = _compared(tokens, context)
    while tokens[:1] == ["&&"]:
        tokens.pop(0)
        other = _compared(tokens, context)
        value = value and other
    return value


def _compared(tokens: list[str], context: Mapping[str, Any]) -> Any:
    value = _single(tokens, context)
    if tokens[:1] in (["=="], ["!="]):
        same = tokens.pop(0) == "=="
        return (text(value) == text(_single(tokens, context))) is same
    return value


def _single(tokens: list[str], context: Mapping[str, Any]) -> Any:
    token = tokens.pop(0)
    if token == "!":
        return not truth(_single(tokens, context))
    if token == "(":
        value = _or(tokens, context)
        assert tokens.pop(0) == ")"
        return value
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if tokens[:1] == ["("]:
        return _called(token, tokens, context)
    if token in ("true", "false"):
        return token == "true"
    value: Any = context
    for part in token.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _called(name: str, tokens: list[str], context: Mapping[str, Any]) -> Any:
    tokens.pop(0)
    arguments = []
    while tokens[0] != ")":
        arguments.append(_or(tokens, context))
        if tokens[0] == ",":
            tokens.pop(0)
    tokens.pop(0)
    match name:
        case "format":
            return str(arguments[0]).format(*arguments[1:])
        case "fromJSON":
            return yaml.safe_load(arguments[0])
        case "hashFiles":
            return "of-the-files"
        case "cancelled":
            return False
    raise AssertionError(f"the workflow calls {name}, which is not known here")
