"""The rows of a file of masks: a window under a mask each, as Parquet or lines."""

import json
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files
from mmdiffmask.text import masks

SHOWN = -100  # label of a piece that is not hidden: losses leave it out
ENDINGS = (".parquet", ".jsonl")
_LISTS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("window", pa.int32()),
        ("draw", pa.int32()),
        ("input_ids", _LISTS),
        ("labels", _LISTS),
        ("attention_mask", pa.list_(pa.int8())),
        ("masked", pa.int32()),
    ]
)


def columns(
    texts: Sequence[corpora.Text],
    drawn: Sequence[masks.Masked],
    pieces: tokenizer_files.Pieces,
) -> dict[str, list]:
    """The columns of a file, a row for each window and mask."""
    before, after = (np.array(x, np.int32) for x in (pieces.before, pieces.after))
    blank = [np.full(len(x), SHOWN, np.int32) for x in (before, after)]
    result: dict[str, list] = {name: [] for name in SCHEMA.names}
    for row in drawn:
        labels = np.where(row.is_masked, row.window.ids, SHOWN).astype(np.int32)
        ids = np.concatenate([before, row.ids, after])
        result["id"].append(texts[row.place.text].id)
        result["window"].append(row.place.window)
        result["draw"].append(row.place.draw)
        result["input_ids"].append(ids)
        result["labels"].append(np.concatenate([blank[0], labels, blank[1]]))
        result["attention_mask"].append(np.ones(len(ids), np.int8))
        result["masked"].append(int(row.is_masked.sum()))
    return result


def write(columns: dict[str, list], path: pathlib.Path, ending: str) -> None:
    """Writes a file whose name will have one of `ENDINGS`."""
    if ending != ".jsonl":
        pq.write_table(pa.table(columns, SCHEMA), path)
        return
    with open(path, "w", encoding="utf-8") as file:
        for values in zip(*columns.values(), strict=True):
            row = {
                name: value.tolist() if isinstance(value, np.ndarray) else value
                for name, value in zip(columns, values, strict=True)
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def join(parts: Sequence[pathlib.Path], path: pathlib.Path) -> None:
    """Puts the parts behind each other, one in memory at a time."""
    if parts[0].suffix == ".jsonl":
        with open(path, "wb") as file:
            for part in parts:
                with open(part, "rb") as opened:
                    shutil.copyfileobj(opened, file)
        return
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=SCHEMA))
