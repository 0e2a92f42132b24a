import pytest

from pipeline.tracking import leaks
from tests.conftest import REPOSITORY

# Put together here, so that this file holds none of them.
SECRETS = {
    "AWS access key": "key: AKIA" + "IOSFODNN7EXAMPLE",
    "GitHub token": "x = ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "a1B2" * 6,
    "Hugging Face token": "login('hf_" + "aBcD" * 9 + "')",
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "Slack token": "xoxb-" + "123456789012-abc",
    "signed web token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "password in an address": "uri = postgresql://ann:" + "pa55word@db.example.org/x",
    "literal": 'password = "' + 'hunter22"',
}


@pytest.mark.parametrize("kind", SECRETS)
def test_what_looks_like_a_secret_is_found_and_not_repeated(kind: str):
    reason = leaks.by_content("code.py", SECRETS[kind].encode())
    assert reason is not None
    assert kind in reason
    assert SECRETS[kind] not in reason


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("conf.yaml", "db:\n  password: hunter22\n"),
        ("conf.toml", 'api_key = "0123456789abcdef"'),
        (".gitconfig.local", "token = abcdef123456"),
        ("run.sh", "export MLFLOW_TRACKING_PASSWORD=hunter22"),
        ("code.py", "client(secret='s3cr3t-s3cr3t')"),
        ("data.json", '{"auth_token": "abcdef"}'),
    ],
)
def test_settings_with_a_secret_are_found(path: str, text: str):
    assert leaks.by_content(path, text.encode())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("code.py", "token = tokenizer.convert_tokens_to_ids(12345678)"),
        ("code.py", 'eos_token = "<|endoftext|>"'),
        ("code.py", "password = os.environ['PASSWORD']"),
        ("code.py", "def login(password: str, token: str | None) -> None:"),
        ("code.py", 'mask_token="[MASK]", key="attention_mask"'),
        ("params.yaml", "tokenizer_name: org/mini-lm-12-tokens\nmicro_batch_tokens: 1024\n"),
        ("workflow.yml", "token: ${{ secrets.GITHUB_TOKEN }}\npassword: null\nsecret: <yours>"),
        ("docs.md", "MLFLOW_TRACKING_URI=http://localhost:5000/?key=x and https://github.com/org/name"),
        ("docs.md", "postgresql://$USER:$PASSWORD@host/db or https://{user}:{password}@host"),
    ],
)
def test_code_of_this_field_and_placeholders_are_none(path: str, text: str):
    assert leaks.by_content(path, text.encode()) is None


def test_values_of_secret_variables_are_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_KEY", "plainwords")
    assert "environment variable" in str(leaks.by_content("notes.txt", b"say plainwords to enter"))


def test_names_of_files_that_hold_secrets():
    for name in (".env", "deploy/.env.production", "server.pem", "id_rsa", "home/.netrc", "credentials.json"):
        assert leaks.by_name(name), name
    for name in ("deploy/.env.example", "params.yaml", "pipeline/environment.py", "keys.py", "monkey.py"):
        assert leaks.by_name(name) is None, name


def test_no_file_that_shapes_a_model_here_is_taken_for_a_secret():
    files = [*REPOSITORY.glob("pipeline/**/*.py"), *REPOSITORY.glob("stages/*.py"), *REPOSITORY.glob("*.yaml")]
    assert len(files) > 50
    for file in files:
        path = file.relative_to(REPOSITORY).as_posix()
        assert not leaks.by_name(path)
        assert leaks.by_content(path, file.read_bytes()) is None, path
