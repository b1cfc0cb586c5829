"""A seed and a clip's number to its script: people, actions, things, scene, camera.

Whatever a question may ask for is drawn as an ordered set of five candidates first;
which of the five becomes true is drawn uniformly afterwards, and the world is built to
fit. So neither a question nor its candidates tell anything about the answer.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from mmdiffmask import seeds
from preprocessing.toy import words

Domain = Literal["general", "people", "objects"]
Split = Literal["train", "val"]


@dataclasses.dataclass(frozen=True)
class Person:
    """One person: looks, place and what they do in each frame.

    Positions are pixels of the frame; `x` is the middle of the hips, `ground_y` where
    the feet stand. `facing` is 1 to the right, -1 to the left.
    """

    track: int
    height_px: float
    x: np.ndarray
    ground_y: float
    actions: tuple[str, ...]
    facing: np.ndarray
    phase: float
    shirt: str
    trousers: tuple[int, int, int]
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    has_long_hair: bool

    @property
    def action(self) -> str:
        """What they do for most of the clip."""
        return max(sorted(set(self.actions)), key=self.actions.count)


@dataclasses.dataclass(frozen=True)
class Thing:
    """One object; `x` is its middle, `bottom_y` its lower edge, `tilt` in degrees."""

    track: int
    label: str
    colour: str
    size_px: int
    x: np.ndarray
    bottom_y: np.ndarray
    tilt: np.ndarray
    depth_y: float
    is_moving: bool


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip's whole script; the first person and the first thing are the main ones.

    `colours`, `actions` and `classes` are the five candidates of every question about
    them, in the order in which they are offered. `question_kinds` says what this clip's
    questions ask for. `pan` is the background's offset in pixels (frames, 2).
    """

    name: str
    domain: Domain
    split: Split
    index: int
    scene: str
    scenes: tuple[str, ...]
    colours: tuple[str, ...]
    actions: tuple[str, ...]
    classes: tuple[str, ...]
    people: tuple[Person, ...]
    things: tuple[Thing, ...]
    pan: np.ndarray
    question_kinds: tuple[str, ...]


def generator(
    seed: int, domain: str, split: str, index: int, purpose: int
) -> np.random.Generator:
    """The random numbers of one clip for one purpose (script, words, drawing...)."""
    show, part = words.DOMAINS.index(domain), words.SPLITS.index(split)
    return seeds.generator(seed, show, part, index, purpose, before=(words.VERSION,))


def script(domain: Domain, split: Split, index: int, seed: int) -> Clip:
    """The script of a clip: a pure function of its arguments and the version."""
    rng = generator(seed, domain, split, index, purpose=0)
    colours = _five(rng, words.COLOURS)
    actions = _five(rng, words.ACTIONS[domain])
    classes = _five(rng, words.CLASSES[domain])
    scenes = _five(rng, words.SCENES)
    n_people = int(rng.integers(2, 4))
    if domain == "general":
        n_people = int(rng.random() > 0.65)
    n_things = 1 if domain == "people" else int(rng.integers(1, 3))
    worn = list(rng.permutation(colours))  # shirts first, then things
    things = _things(rng, domain, classes, worn[n_people:], n_things, n_people)
    people = _people(rng, actions, worn, n_people)
    people, things = _arrange(rng, people, things)
    return Clip(
        name=words.video_name(domain, split, index),
        domain=domain,
        split=split,
        index=index,
        scene=str(rng.choice(scenes)),
        scenes=scenes,
        colours=colours,
        actions=actions,
        classes=classes,
        people=tuple(people),
        things=tuple(things),
        pan=_pan(rng),
        question_kinds=_question_kinds(rng, domain, n_people),
    )


def _five(rng: np.random.Generator, choices: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(c) for c in rng.choice(list(choices), 5, replace=False))


def _question_kinds(
    rng: np.random.Generator, domain: str, n_people: int
) -> tuple[str, ...]:
    """The kinds of the clip's three questions."""
    people = "doing" if rng.random() < 0.5 else "who"
    thing, other = rng.permutation(["class", "colour"])
    if domain == "general" and not n_people:
        people = "scene" if rng.random() < 0.5 else str(other)
    if domain == "objects" and rng.random() < 0.7:
        people = str(other)
    return people, str(thing), "topic" if rng.random() < 0.5 else "speaker"


def _people(
    rng: np.random.Generator, actions: Sequence[str], worn: Sequence[str], n_people: int
) -> list[Person]:
    todo = list(rng.permutation(actions))
    skins = ((236, 196, 168), (214, 160, 126), (160, 110, 82), (112, 76, 58))
    hairs = ((40, 30, 26), (92, 60, 36), (150, 110, 60), (70, 66, 64))
    # Dark: in bright trousers the detector found 81 % of people, in dark ones 97 %.
    trousers = ((58, 58, 72), (66, 58, 50), (44, 50, 66), (72, 72, 76))
    people = []
    for i in range(n_people):
        main = i == 0
        people.append(
            Person(
                track=i,
                height_px=float(
                    rng.uniform(152, 174) if main else rng.uniform(112, 134)
                ),
                x=np.zeros(words.FRAMES),
                ground_y=float(
                    rng.uniform(181, 187) if main else rng.uniform(160, 174)
                ),
                actions=_timeline(rng, str(todo[i]), str(todo[-1]), main),
                facing=np.full(words.FRAMES, rng.choice([-1, 1])),
                phase=float(rng.uniform(0, 2 * np.pi)),
                shirt=str(worn[i]),
                trousers=trousers[rng.integers(len(trousers))],
                skin=skins[rng.integers(len(skins))],
                hair=hairs[rng.integers(len(hairs))],
                has_long_hair=bool(rng.random() < 0.4),
            )
        )
    return people


def _timeline(
    rng: np.random.Generator, action: str, other: str, may_change: bool
) -> tuple[str, ...]:
    """Now and then the main person does something else in the last or first frames."""
    change = int(rng.integers(3, 8))
    if not may_change or rng.random() > 0.12 or "walking" in (action, other):
        return (action,) * words.FRAMES
    parts = (action,) * (words.FRAMES - change), (other,) * change
    return sum(parts if rng.random() < 0.5 else parts[::-1], ())


def _things(
    rng: np.random.Generator,
    domain: Domain,
    classes: Sequence[str],
    colours: Sequence[str],
    n_things: int,
    n_people: int,
) -> list[Thing]:
    """The main thing's class is one of the five; a second one is smaller."""
    labels = [str(rng.choice(classes))]
    others = [c for c in words.PLAIN_CLASSES if c != labels[0]]
    labels.append(str(rng.choice(others)))
    is_moving = bool(rng.random() < 0.5)
    things = []
    for i in range(n_things):
        moves = is_moving if i == 0 else not is_moving
        small = i > 0
        things.append(
            Thing(
                track=n_people + i,
                label=labels[i],
                colour=str(colours[i]),
                size_px=int(rng.integers(54, 66) if small else rng.integers(76, 93)),
                x=np.zeros(words.FRAMES),
                bottom_y=np.full(words.FRAMES, _bottom(rng, labels[i])),
                tilt=np.zeros(words.FRAMES),
                depth_y=float(rng.choice([150, 176, 189], p=[0.3, 0.5, 0.2])),
                is_moving=moves,
            )
        )
    return things


def _bottom(rng: np.random.Generator, label: str) -> float:
    flies = label in ("kite", "star", "plane", "rocket", "balloon")
    return float(rng.uniform(92, 125) if flies else rng.uniform(165, 184))


def _arrange(
    rng: np.random.Generator, people: list[Person], things: list[Thing]
) -> tuple[list[Person], list[Thing]]:
    """Gives everybody a stretch of the frame's width, then sets in motion who moves."""
    room = {"pointing": 1.8, "cheering": 1.5, "bending": 1.6}
    share = [room.get(p.action, 1.2) * p.height_px / 125 for p in people]
    share += [1.3 * t.size_px / 84 for t in things]
    order = rng.permutation(len(share))
    unit = 320 / sum(share)
    place, start = {}, 0.0
    for i in order:
        slack = max(6.0, 0.25 * share[i] * unit)
        place[int(i)] = start + share[i] * unit / 2 + rng.uniform(-slack, slack)
        start += share[i] * unit
    people = [_walk(rng, p, place[i]) for i, p in enumerate(people)]
    if len(people) > 1 and rng.random() < 0.3:
        people = _meet(people)
    things = [_drift(rng, t, place[len(people) + i]) for i, t in enumerate(things)]
    return people, things


def _walk(rng: np.random.Generator, person: Person, x: float) -> Person:
    """Places a person so that the body fits; walkers go to and fro."""
    reach = {"pointing": 0.35, "bending": 0.3, "crouching": 0.28}
    half = max(reach.get(a, 0.2) for a in person.actions) * person.height_px
    x = float(np.clip(x, half, 320 - half))
    if person.action != "walking":
        return dataclasses.replace(person, x=np.full(words.FRAMES, x))
    speed = rng.uniform(4.0, 7.5) * rng.choice([-1, 1])
    way = x - half + speed * np.arange(words.FRAMES)
    there = 320 - 2 * half
    turn = np.floor(way / there).astype(int)
    back = turn % 2 == 1
    folded = np.where(back, there - way % there, way % there)
    facing = np.where(back, -1, 1) * int(np.sign(speed))
    return dataclasses.replace(person, x=folded + half, facing=facing)


def _meet(people: list[Person]) -> list[Person]:
    """Brings a second, standing person close to the main one; they face each other."""
    main, other = people[:2]
    if "walking" in (main.action, other.action):
        return people
    side = 1 if main.x[0] < 160 else -1
    x = main.x + side * 0.27 * (main.height_px + other.height_px) / 2
    main = dataclasses.replace(main, facing=np.full(words.FRAMES, side))
    other = dataclasses.replace(other, x=x, facing=np.full(words.FRAMES, -side))
    return [main, other, *people[2:]]


def _drift(rng: np.random.Generator, thing: Thing, x: float) -> Thing:
    half = thing.size_px / 2
    x = float(np.clip(x, half, 320 - half))
    time = np.arange(words.FRAMES)
    if not thing.is_moving:
        return dataclasses.replace(thing, x=np.full(words.FRAMES, x))
    period = rng.uniform(14, 22)
    swing = np.sin(2 * np.pi * (time / period + rng.random()))
    bounce = np.abs(np.sin(2 * np.pi * time / rng.uniform(7, 11)))
    reach = min(rng.uniform(35, 60), x - half + 25, 320 - half + 25 - x)
    return dataclasses.replace(
        thing,
        x=x + reach * swing,
        bottom_y=thing.bottom_y - rng.uniform(6, 16) * bounce,
        tilt=rng.uniform(6, 14) * swing,
    )


def _pan(rng: np.random.Generator) -> np.ndarray:
    """The camera circles its subject, hand-held: the background passes by."""
    speed = rng.uniform(2.0, 6.0) * rng.choice([-1, 1])
    x = speed * np.arange(words.FRAMES)
    path = np.stack([x - x.min(), np.zeros_like(x)], 1)
    return path + rng.normal(0, [1.2, 0.8], (words.FRAMES, 2))
