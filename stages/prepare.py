"""Read the rows, cut the splits that are missing, and take leaked rows out of training."""

import pyarrow.parquet as pq

from pipeline import json_file, project
from pipeline.data import slices, sources
from pipeline.data.audit import audit
from pipeline.errors import counted
from pipeline.params import Params
from pipeline.tasks import find
from pipeline.tasks.base.prepare import prepare_rows
from stages.run import main


def prepare(params: Params) -> None:
    """Write data/prepared (the splits as Parquet, what the task knows of them, the audit) and data/slices."""
    kind = find(params.task)
    named, by = kind.wanted(params.data), slices.raw_columns(params.evaluate)
    tables = sources.read(params.data, lambda names: {**by, **named(names)})
    slices.check(tables, kind.layout_of(tables["train"], params.data).texts, params)
    task, before, rows = prepare_rows(kind, tables, params.data)
    found = audit(before, rows, task.texts, task.labels)

    project.PREPARED.mkdir(parents=True, exist_ok=True)
    for split, table in rows.items():
        pq.write_table(table, project.PREPARED / f"{split}.parquet")
    task.save(project.PREPARED)
    json_file.write(project.PREPARED / "audit.json", found)
    slices.write(project.SLICES, tables, rows, params.evaluate)

    counts = ", ".join(f"{split} {len(table):,}" for split, table in rows.items())
    print(f"prepare: {counts} rows" + (f", {counted(len(task.labels), 'label')}" if task.labels else ""))
    for warning in found["warnings"]:
        print(f"prepare: note: {warning}")


if __name__ == "__main__":
    main(prepare)
