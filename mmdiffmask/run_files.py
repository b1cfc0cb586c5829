"""Names of what lies in a run's folder, and what to do where a file is damaged."""

CONFIG, VERSIONS, PLACES, LOCK = "config.json", "versions.json", "places.json", "lock"
SAVED = "saved.json"  # what was saved of the run (`training.saved`)
METRICS, TIMES, BATCH = "metrics.jsonl", "times.jsonl", "batch.json"
MASKS, DATA, PROBE = "masks.json", "data.json", "probe.json"
ANSWERS = "answers.json"  # of fine-tuning: each held-out row's label
DONE = "done.json"  # of an experiment's runs: the code that probed it
CPU_SECONDS = "cpu_seconds.json"  # of such a run: stage -> processor seconds
STAGE_SECONDS = "stage_seconds.json"  # of the demo's folder of runs: stage -> seconds
REPORT, TABLES, CSV = "report.html", "tables.html", "results.csv"  # of many runs
RESULTS = "results"  # of an experiment: the folder of its results, unless named
START, STEPS, FEATURES = "start", "steps", "features"  # folders
EVENTS, TRACE = "events", "trace"  # folders, for TensorBoard and its profiler

# All that a start makes before its first step is saved, beside the claim itself.
BEGUN = (START, STEPS, SAVED, BATCH, METRICS, TIMES, EVENTS)

# What to do where a file is damaged.
PUT_BACK = "put it back as it was, or train again in another --workdir"
REMADE = f"delete {MASKS} and {DATA}: mmdiffmask pretrain makes them anew"
REMEDIES = {
    CONFIG: PUT_BACK,
    SAVED: PUT_BACK,
    BATCH: "put it back, or delete it and go on with as many devices as before",
    VERSIONS: "delete it: it only says what the run was begun with",
    PLACES: "delete it, and name once more what has moved (--data, --set)",
    MASKS: REMADE,
    DATA: REMADE,
    PROBE: "delete it: mmdiffmask probe makes it anew",
    ANSWERS: "delete it: mmdiffmask finetune makes it anew",
    DONE: "delete it: mmdiffmask experiment, or demo, makes it anew",
    CPU_SECONDS: "delete it: it only says what the run took",
    STAGE_SECONDS: "delete it: it only says how long the demo took",
}
