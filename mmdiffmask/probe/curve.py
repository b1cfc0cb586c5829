"""The read-out `clip` of a run under way: what curves of labels are drawn from."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mmdiffmask import config, statistics
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.probe import clips, results
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.training import job
from mmdiffmask.training.family import Params


def of_run(experiment: config.Experiment, corpus: Corpus) -> job.Probe:
    """Reads labels out of weights as the probe of a finished run does (`clips.probe`).

    Without what a curve does not show: questions, fewer labels, cells inside boxes.
    Features are not kept.

    Args:
      experiment: the run's settings.
      corpus: its records.

    Raises:
      ValueError: if the probe does not read clips, or the records have no val split.
    """
    if isinstance(experiment.data, config.Texts):
        raise ValueError(
            f"training.probe_every={experiment.training.probe_every}: there are no"
            " curves of texts; set it to 0"
        )
    if "clip" not in experiment.probe.read_outs:
        raise ValueError(
            f"training.probe_every={experiment.training.probe_every}: its curves are of"
            " labels; add clip to probe.read_outs, or set probe_every to 0"
        )
    clips.check_val(corpus)
    shown = dataclasses.replace(experiment.probe, fractions=(), inside_boxes=False)
    experiment = dataclasses.replace(experiment, probe=shown)
    said: set[str] = set()

    def read_out(params: Params, watched: job.Watched) -> list[Mapping[str, Any]]:
        frozen = Frozen(experiment, "", None, "", lambda: params, watched=watched)
        labels, left_out = clips.probe(frozen, corpus)
        for reason in set(left_out.values()) - said:
            logging.warning("no curve: %s", reason)
        said.update(left_out.values())
        return [line for name in labels for line in _lines(name, labels[name])]

    return read_out


def _lines(label: str, entry: results.Label) -> Iterator[Mapping[str, Any]]:
    """A line for each read-out of a label, by its linear head."""
    for name, head in entry.heads.items():
        score = statistics.accuracy(np.array(head.is_right, float))
        yield {
            "label": label,
            "read_out": name,
            "accuracy": score.value,
            "low": score.low,
            "high": score.high,
            "count": score.n,
            "log_probability": results.mean_log(head.log_probability),
        }
