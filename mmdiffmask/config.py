"""Settings: frozen dataclasses, one per concern; `configure` loads and checks them."""

import dataclasses
from typing import Literal

from mmdiffmask import earlier_settings, probe_settings, ranges, seeds, text_settings

_number = ranges.number
Probe = probe_settings.Probe
TOY_KINDS = probe_settings.TOY_KINDS
Texts, Encoder = text_settings.Texts, text_settings.Encoder
ADDED, UNCOUNTED = earlier_settings.ADDED, earlier_settings.UNCOUNTED
RENAMED = earlier_settings.RENAMED


@dataclasses.dataclass(frozen=True)
class Toy:
    """The rendered data set (preprocessing/toy.py)."""

    domain: Literal["general", "people", "objects"] = "people"
    train_clips: int = _number(1500, 1)
    val_clips: int = _number(1500, 1)
    boxed_clips: int = _number(1500, 0)  # of train: detectors run, CPT uses them
    seed: int = _number(0, 0, seeds.LARGEST)
    # true: the boxes that were rendered, of persons, faces and things by their names.
    boxes: Literal["detected", "true"] = "detected"
    # Faults of true boxes (preprocessing/toy/box_faults.py): the share that is lost; sd
    # of each side's shift, in shares of width or height; false ones for each true one.
    lost_boxes: float = _number(0.0, 0.0, 1.0)
    moved_boxes: float = _number(0.0, 0.0, 1.0)
    false_boxes: float = _number(0.0, 0.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Data:
    """Windows, grid and sequences (design.md section 3)."""

    toy: Toy | None = None  # where no --data is given: the toy set is made
    segments: int = _number(7, 1, 16)
    sub_segments: int = _number(3, 1, 3)  # sound clips of 1.5556 s per segment
    rows: int = _number(12, 2)  # of patches of 16 x 16 pixels, which is fixed
    cols: int = _number(20, 2)
    min_overlap: float = _number(0.0, 0.0, 1.0)  # share of a patch a box must pass
    text_length: int = _number(256, 8)  # tokens of a text or audio stream
    tokenizer: str = "toy"  # "toy" (shipped), "reserve" (looked up), or a JSON file
    dev_share: float = _number(0.1, 0.0, 0.9)  # of TRAIN, by hash of the clip
    boxed_only: bool = True  # train on clips alone that detectors have looked at
    family: Literal["video"] = "video"


@dataclasses.dataclass(frozen=True)
class Model:
    """MERLOT-Reserve's sizes (reserve.md section 1)."""

    hidden: int = _number(768, 32)
    head_size: int = _number(64, 32)
    vision_layers: int = _number(12, 1)
    audio_layers: int = _number(12, 1)
    span_layers: int = _number(4, 1)
    joint_layers: int = _number(12, 1)
    vocabulary: int = _number(32768, 16)
    scale_init: float = 1.0  # learned log-temperatures start here; small models: 3
    initialiser: Literal["reserve", "lecun"] = "reserve"  # small from scratch: lecun
    centre_pixels: bool = False  # small from scratch: True (reserve.md section 9.2)
    dtype: Literal["float32", "bfloat16"] = "float32"  # of computing; weights float32
    remat: bool = False
    checkpoint: str | None = None  # weights to start from; "small" (shipped), a path
    # Of fine-tuning: a finished run whose weights are taken, and those of which step.
    start: str | None = None
    start_step: Literal["best", "last"] = "best"
    family: Literal["reserve"] = "reserve"


# design.md section 6. Small models from scratch: initialiser, temperature and centred
# pixels as reserve.md sections 9.1 and 9.2 measured.
MODELS = {
    "tiny": Model(
        hidden=64,
        vision_layers=1,
        audio_layers=1,
        span_layers=1,
        joint_layers=1,
        vocabulary=512,
        scale_init=3.0,
        initialiser="lecun",
        centre_pixels=True,
    ),
    "small": Model(
        hidden=128,
        vision_layers=2,
        audio_layers=1,
        span_layers=1,
        joint_layers=2,
        vocabulary=2048,
        scale_init=3.0,
        initialiser="lecun",
        centre_pixels=True,
    ),
    "base": Model(),
    "large": Model(hidden=1024, vision_layers=24, joint_layers=24),
}
# Of a model: not decided by its name.
NO_SIZES = ("checkpoint", "start", "start_step", "dtype", "remat")


MASKS = ("static", "per_epoch")


@dataclasses.dataclass(frozen=True)
class Masking:
    """What is hidden (design.md section 4)."""

    # A name of masking.strategies.REGISTRY; of texts: of text_strategies.REGISTRY.
    strategy: str = "difference"
    # Strategies whose held-out masks every run is scored on, and judged by its own.
    held_out: tuple[str, ...] = ("random", "difference", "difference-face")
    mask_unit: Literal["patch", "cell"] = "cell"
    ratio: float = _number(0.25, 0.01, 0.95)  # appendix B: 25 % of the patches
    box_share: float = _number(1.0, 0.0, 1.0)
    selection: Literal["unit", "patch"] = "unit"
    select: Literal["strategy", "sample", "top"] = "strategy"  # its own, or this
    fill: Literal["random", "none"] = "random"
    # counted: padding and absent frames are patches like others: hidden, predicted.
    padding: Literal["left_out", "counted"] = "left_out"
    tracks: Literal["apart", "joined"] = "apart"  # joined: a track's boxes are one unit
    masks: str = "static"  # one of MASKS, or an .npz file of masks by example id
    scores: str | None = None  # .npz of scores by example id (docs/masks.md)
    # design.md 4: K = 1 for video. (), of texts: the words that TF-ICF proposes.
    anchors: tuple[str, ...] = dataclasses.field(
        default=("person",), metadata={"empty": True}
    )
    # .npz of label, or word, -> vector. None: label = anchor; of texts: MiniLM's.
    label_embeddings: str | None = None
    similarity: Literal["nearest", "centroid"] = "nearest"  # to several anchors (Eq. 3)
    # Whose [CLS] attention strategies by attention go by: the first weights', worked
    # out once, or that of the weights at each update. Held-out masks: the first's.
    attention: Literal["start", "live"] = "start"
    # Of texts. What stands where pieces are hidden: any pieces (appendix A), BERT's
    # 80 % [MASK], 10 % any pieces, 10 % as they were, or [MASK] alone.
    replacement: Literal["random", "bert", "mask"] = "bert"
    anchor_count: int = _number(20, 1)  # that TF-ICF proposes where `anchors` is ()
    background: str | None = None  # a .tsv of counts, or texts; None: the web's counts
    spans: str | None = None  # of entities: a file, or "markers" (docs/entities.md)
    attention_layer: int = -1  # of the first weights, whose attention counts; -1: last
    reference: str | None = None  # a masked language model, or a run, for excess loss


@dataclasses.dataclass(frozen=True)
class Terms:
    """Weights of the terms of the loss; 0 leaves a term and its sequences out."""

    patches: float = _number(1.0, 0.0)  # masked patches (design.md section 5)
    # Reserve's own three (reserve.md section 4.1).
    imgs_to_audio: float = _number(0.0, 0.0)
    text_to_audio: float = _number(0.0, 0.0)
    stuff_to_span: float = _number(0.0, 0.0)
    # Grounding at small scale (reserve.md section 9.1).
    closed_span: float = _number(0.0, 0.0)
    pooled_cells: float = _number(0.0, 0.0)
    mlm: float = _number(0.0, 0.0)  # of texts: hidden word pieces
    classify: float = _number(0.0, 0.0)  # labels, questions (mmdiffmask finetune)
    dga: float = _number(0.0, 0.0)  # of texts: DGA's contrast; heads are spared too


@dataclasses.dataclass(frozen=True)
class Reserve:
    """Sequences of Reserve's own terms (reserve.md section 4), and cloze texts."""

    target_share: float = _number(0.25, 0.0, 0.5)  # of sub-segments; twice: text, sound
    spans: int = _number(14, 1)  # most masked spans of an example
    word_share: float = _number(0.8, 0.0, 1.0)  # clips next to a target as words
    heard_share: float = _number(0.5, 0.0, 1.0)  # matching by sound, else by words
    cut_share: float = _number(0.1, 0.0, 1.0)  # groups cut into two videos
    random_text: str | None = None  # a text file, a paragraph a line; None: left out
    random_spans: int = _number(38, 1)  # masked in it
    clips: int = _number(0, 0)  # of a batch, for the three terms; 0: all of them
    # The closed vocabulary of the grounding terms: "toy", or a JSON file.
    words: str | None = None
    cloze_frames: int = _number(1, 1)  # of each clip, drawn anew each epoch
    cloze_masks: int = _number(3, 1)  # words hidden in a narration
    # Share of cloze texts that are a training question with its answer hidden: only
    # for pretraining a start, never in continued pretraining (design.md section 5).
    cloze_questions: float = _number(0.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Training:
    """Continued pretraining (design.md section 5)."""

    optimiser: Literal["adamw", "reserve", "reserve_finetune"] = "adamw"
    steps: int = _number(10_000, 0)  # 0: no training, whatever `epochs` says
    # Above 0 these three count epochs of the training records, in place of `steps`,
    # `warmup_steps` and `eval_every`; `schedules.in_steps` turns them into updates.
    epochs: float = _number(0.0, 0.0, 100_000.0)
    warmup_epochs: float = _number(0.0, 0.0, 100_000.0)
    eval_every_epochs: float = _number(0.0, 0.0, 100_000.0)
    batch_size: int = _number(32, 2)
    lr: float = _number(5e-6, 0.0, 1.0)  # Table 4, CPT multimodal
    warmup_steps: int = _number(100, 0)
    b2: float = _number(0.98, 0.0, 1.0)
    eps: float = _number(1e-6, 0.0, 1.0)
    weight_decay: float = _number(0.1, 0.0, 1.0)
    decay_to: Literal["initial", "zero", "none"] = "initial"
    clip_norm: float = _number(0.0, 0.0)  # of the gradient, at most; 0: as it is
    mask_site: Literal["patch_embedding", "vit_output"] = "patch_embedding"
    target: Literal["live", "initial"] = "live"
    target_gradient: bool = False  # the loss changes targets too; only live ones
    empty_slots: Literal["left_out", "kept"] = "left_out"  # kept: zeros in the loss
    first_frame: int = _number(1, 0, 1)  # its segment; that of its words is 1
    gold_answer: bool = False  # the right answer in the text: labels leak
    streams: tuple[Literal["text", "audio"], ...] = ("text", "audio")
    eval_every: int = _number(100, 1)
    eval_clips: int = _number(256, 1)  # of dev, the first by id
    noise_clips: int = _number(512, 1)  # of train: statistics of the replacing noise
    patience: int = _number(3, 1)  # evaluations without a better dev loss
    early_stopping: bool = True
    # The dev number that picks the best step; of labels macro F1 or accuracy too.
    stop_on: Literal["loss", "f1", "accuracy"] = "loss"
    learn: str = "questions"  # of video, by fine-tuning; or the name of a label
    save_every: int = _number(100, 1)  # updates
    save_minutes: float = _number(0.0, 0.0)  # also so long after a save; 0: never
    # Updates between read-outs of the probe's labels (`clip`), for curves; 0: none.
    probe_every: int = _number(0, 0)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a run depends on but its seed."""

    name: str
    data: Data | Texts = Data()
    model: Model | Encoder = Model()
    masking: Masking = Masking()
    training: Training = Training()
    terms: Terms = Terms()
    reserve: Reserve = Reserve()
    probe: Probe = Probe()
    # Of a comparison, each "name: setting=value; setting=value" in the form of --set.
    rows: tuple[str, ...] = (
        "none: training.steps=0",
        "random: masking.strategy=random",
        "difference: masking.strategy=difference",
    )
    # Of rows, named before they are run: "difference - random" (contrasts.py).
    contrasts: tuple[str, ...] = dataclasses.field(default=(), metadata={"empty": True})
    # Seeds of rows in an experiment, each "row=count"; rows that it does not name have
    # one. (): all have as many.
    row_seeds: tuple[str, ...] = dataclasses.field(default=(), metadata={"empty": True})
    report_clips: int = _number(4, 1)

    @property
    def is_hiding(self) -> bool:
        """Whether a run trains on hidden patches or word pieces."""
        return self.training.steps > 0 and self.terms.patches + self.terms.mlm > 0

    @property
    def is_learning(self) -> bool:
        """Whether a run learns labels or questions: fine-tuning."""
        return self.terms.classify > 0
