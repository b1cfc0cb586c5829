"""What settings of earlier versions lack, and what they are called today."""

# Settings that runs of earlier versions lack -> the value that they had in effect.
ADDED = {
    "contrasts": (),
    "masking.similarity": "nearest",
    "training.epochs": 0.0,
    "training.warmup_epochs": 0.0,
    "training.eval_every_epochs": 0.0,
    "training.save_minutes": 0.0,
    "training.probe_every": 0,
    "data.toy.boxes": "detected",
    "data.toy.lost_boxes": 0.0,
    "data.toy.moved_boxes": 0.0,
    "data.toy.false_boxes": 0.0,
    "masking.attention": "start",
    "masking.tracks": "apart",
    "masking.scores": None,
    "probe.folds": 0,
    "probe.fractions": (),
    "probe.fraction_draws": 3,
    "probe.streams": (),
    "probe.right_distractors": False,
    "masking.padding": "left_out",
    "training.target_gradient": False,
    "training.empty_slots": "left_out",
    "training.first_frame": 1,
    "training.gold_answer": False,
    "probe.inside_boxes": False,
    "data.family": "video",
    "model.family": "reserve",
    "masking.replacement": "bert",
    "masking.anchor_count": 20,
    "masking.background": None,
    "masking.spans": None,
    "masking.attention_layer": -1,
    "masking.reference": None,
    "terms.mlm": 0.0,
    "row_seeds": (),
    "terms.dga": 0.0,
    "training.clip_norm": 0.0,
    "terms.classify": 0.0,
    "training.stop_on": "loss",
    "model.classifier_dropout": None,
    "model.start": None,
    "model.start_step": "best",
    "training.learn": "questions",
}
# Settings that change no number of a run: it is the same run whatever they are.
UNCOUNTED = (
    "contrasts",
    "row_seeds",
    "training.save_minutes",
    "training.probe_every",
    "data.folder",  # what the files hold counts
)

_TERMS = ("patches", "imgs_to_audio", "text_to_audio", "stuff_to_span")
_TERMS += ("closed_span", "pooled_cells")
# Settings of earlier versions, with or without their value -> what to write instead.
RENAMED = {
    "masking.boxes=body": "use masking.strategy=difference",
    "masking.boxes=face": "use masking.strategy=difference-face",
    "masking.boxes=object": "use masking.strategy=difference-object",
    "masking.boxes": "a strategy has boxes of its own, as difference-face has faces",
    "masking.strategy=none": "a start that is not trained has training.steps=0",
    "masking.strategy=replay": "a row that hides nothing has terms.patches=0",
    "training.objective": "weights choose the terms: set terms.patches and the others",
    "compare": "name the rows and their settings in rows",
} | {f"reserve.{name}": f"use terms.{name}" for name in _TERMS}
