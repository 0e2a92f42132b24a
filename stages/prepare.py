"""Read the rows, cut the splits that are missing, and take leaked rows out of training."""

import pyarrow.parquet as pq

from pipeline import json_file, project
from pipeline.data import slices, sources, splits
from pipeline.data.audit import audit
from pipeline.params import Params
from pipeline.tasks import find
from stages.run import main


def prepare(params: Params) -> None:
    """Write data/prepared (the splits as Parquet, the list of labels, the audit) and data/slices."""
    tables = splits.cut(sources.read(params.data, slices.raw_columns(params.evaluate)), params.data)
    task, before, rows = find(params.task).prepare(tables, params.data)
    found = audit(before, rows, task.labels)

    project.PREPARED.mkdir(parents=True, exist_ok=True)
    for split, table in rows.items():
        pq.write_table(table, project.PREPARED / f"{split}.parquet")
    task.save(project.PREPARED)
    json_file.write(project.PREPARED / "audit.json", found)
    slices.write(project.SLICES, tables, params)

    counts = ", ".join(f"{split} {len(table):,}" for split, table in rows.items())
    print(f"prepare: {counts} rows, {len(task.labels):,} labels")
    for warning in found["warnings"]:
        print(f"prepare: note: {warning}")


if __name__ == "__main__":
    main(prepare)
