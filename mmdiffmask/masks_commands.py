"""The commands on masks and strategies: masks export, strategies."""

import argparse
import dataclasses
import pathlib

from mmdiffmask import config, run_arguments, text_arguments


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands on masks (docs/masks.md) and the page of all strategies."""
    actions = commands.add_parser("masks", help="masks in a file").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    export = actions.add_parser(
        "export",
        help="static masks: of records by example id, or of texts for other trainers",
    )
    export.add_argument("data", nargs="?", help="a folder of records")
    export.add_argument(
        "--out", required=True, help=".npz; of texts .parquet or .jsonl"
    )
    export.add_argument("--config", help="a Python file with get_config(); or defaults")
    export.add_argument("--split", default="train", help="of the records (train)")
    export.add_argument("--seed", type=int, default=0, help="of the masks (0)")
    run_arguments.add_settings(export)
    text_arguments.add_export(export)
    export.set_defaults(run=_export)

    page = commands.add_parser("strategies", help="one HTML page of all strategies")
    page.add_argument("--out", required=True, help=".html to write")
    page.add_argument("--data", help="records to show; absent: a few toy clips, made")
    text = "a setting, e.g. masking.mask_unit=patch; may be repeated"
    run_arguments.add_set(page, text)
    page.set_defaults(run=_strategies)


def _strategies(arguments: argparse.Namespace) -> None:
    from mmdiffmask import build, configure, toy_records
    from mmdiffmask.data.corpus import Corpus
    from mmdiffmask.report import catalogue

    experiment = configure.override(_toy(), arguments.set)
    build.check(experiment)
    if arguments.data is not None:
        Corpus.of(arguments.data).verify()
        experiment = build.adopt(experiment, arguments.data, arguments.set)
    records = arguments.data or toy_records.make(experiment, pathlib.Path("."))
    print(catalogue.write(experiment, Corpus.of(records), arguments.out))


def _toy() -> config.Experiment:
    """A few clips of the toy set, on its grid, and the shipped checkpoint."""
    return config.Experiment(
        "strategies",
        data=config.Data(
            toy=config.Toy(train_clips=4, val_clips=1, boxed_clips=4),
            sub_segments=1,
            rows=6,
            cols=10,
            min_overlap=0.25,
        ),
        model=dataclasses.replace(
            config.MODELS["small"], vocabulary=512, checkpoint="small"
        ),
    )


def _export(arguments: argparse.Namespace) -> None:
    from mmdiffmask import masks, seeds, starts
    from mmdiffmask.data.corpus import Corpus

    if arguments.text:
        print(text_arguments.export(arguments))
        return
    text_arguments.require_records(arguments)
    seeds.check("--seed", arguments.seed)
    experiment = run_arguments.experiment(arguments)
    corpus, names = Corpus.of(arguments.data), [experiment.masking.strategy]
    attention = starts.attention(experiment, corpus, arguments.split, names)
    print(
        masks.export(
            experiment,
            corpus,
            out=arguments.out,
            split=arguments.split,
            seed=arguments.seed,
            attention=attention,
        )
    )
