import math
from pathlib import Path

from pipeline import json_file


def test_what_is_not_finite_is_null_and_the_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    json_file.write(path, {"loss": math.nan, "all": [1.5, math.inf, ("é", -math.inf)], "rows": 3, "ok": True})
    text = path.read_text(encoding="utf-8")
    assert " ".join(text.split()) == '{ "loss": null, "all": [ 1.5, null, [ "é", null ] ], "rows": 3, "ok": true }'
    assert text.endswith("}\n")
