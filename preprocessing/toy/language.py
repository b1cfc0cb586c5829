"""A clip's script to its subtitles and to questions with five answers.

The narration names what no question of the clip asks for: a clip that asks for the
object's class is told its colour, one that asks for a colour is told no colour at all.
So it grounds words in pictures, but gives no answer away and rules none out.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from preprocessing.toy import words, world

QUESTIONS_PER_CLIP = 3
SLACK_S = 0.15
SPAN_KEYS = ("a0", "a1", "a2", "a3", "a4")
SAYINGS = (
    "I keep thinking about the {topic}.",
    "Did you hear about the {topic}?",
    "We should talk about the {topic}.",
    "It is all because of the {topic}.",
)


@dataclasses.dataclass(frozen=True)
class Line:
    """One subtitle; `speaker` is None where the narrator speaks."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


@dataclasses.dataclass(frozen=True)
class Talk:
    """Who says what in a clip, and the candidates of questions on it."""

    names: tuple[str, ...]
    topics: tuple[str, ...]
    speakers: tuple[str, str]
    subjects: tuple[str, str]
    lines: tuple[Line, ...]


def talk(clip: world.Clip, seed: int) -> Talk:
    """The clip's subtitles: two narrated lines and two that somebody says."""
    rng = world.generator(seed, clip.domain, clip.split, clip.index, purpose=2)
    names = tuple(str(n) for n in rng.choice(words.NAMES, 5, replace=False))
    topics = tuple(str(t) for t in rng.choice(words.TOPICS, 5, replace=False))
    speakers = tuple(str(n) for n in rng.choice(names, 2, replace=False))
    subjects = tuple(str(t) for t in rng.choice(topics, 2, replace=False))
    said = [(None, text) for text in _narration(clip, rng)]
    for speaker, subject in zip(speakers, subjects, strict=True):
        said.append((speaker, str(rng.choice(SAYINGS)).format(topic=subject)))
    lines = []
    for slot, i in enumerate(rng.permutation(len(said))):
        start = 0.25 + 2.75 * slot + rng.uniform(0, 0.5)
        end = start + rng.uniform(1.8, 2.2)
        speaker, text = said[i]
        lines.append(Line(round(start, 3), round(end, 3), text, speaker))
    return Talk(names, topics, speakers, subjects, tuple(lines))


def _narration(clip: world.Clip, rng: np.random.Generator) -> list[str]:
    """Two sentences that leave out whatever the clip's questions ask for."""
    kinds = set(clip.question_kinds)
    is_colour_told = not kinds & {"colour", "who"}
    is_class_told = "class" not in kinds
    where = "here" if "scene" in kinds else words.SCENES[clip.scene]
    parts = []
    for thing in clip.things:
        noun = thing.label if is_class_told else "thing"
        colour = f"{thing.colour} " if is_colour_told else ""
        parts.append(f"a {colour}{noun} {_motion(thing)}")
    first = " and ".join(parts) + (f" {where}" if rng.random() < 0.6 else "")
    people = []
    for person in clip.people:
        who = f"somebody in {person.shirt}" if is_colour_told else "somebody"
        does = "is there"
        if "doing" not in kinds:
            does = f"is {words.ACTION_PHRASES[person.action]}"
        people.append(f"{who} {does}")
    if people:
        return [_sentence(first), _sentence(f"{str(rng.choice(people))} {where}")]
    opening = "there is nobody" if rng.random() < 0.5 else "nobody is"
    return [_sentence(first), _sentence(f"{opening} {where}")]


def _motion(thing: world.Thing) -> str:
    return "moves" if thing.is_moving else "stays still"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def ask(clip: world.Clip, said: Talk, seed: int) -> list[dict]:
    """The clip's three questions as TVQA's jsonl has them."""
    rng = world.generator(seed, clip.domain, clip.split, clip.index, purpose=3)
    rows = []
    for number, kind in enumerate(clip.question_kinds):
        text, candidates, answer = _question(clip, said, kind, rng)
        qid = QUESTIONS_PER_CLIP * clip.index + number
        row = {"qid": qid + 10_000_000 * words.SPLITS.index(clip.split), "q": text}
        row |= dict(zip(SPAN_KEYS, candidates, strict=True))
        row["answer_idx"] = candidates.index(answer)
        row["ts"] = _span(clip, rng)
        row |= {"vid_name": clip.name, "show_name": clip.domain}
        rows.append(row)
    return rows


def _span(clip: world.Clip, rng: np.random.Generator) -> str:
    """Around the middle, so that all seven windows fit; in one clip of eight, not."""
    # Less than half a frame off the middle: such questions share their seven frames.
    middle = words.DURATION_S / 2 + rng.uniform(-SLACK_S, SLACK_S)
    half = rng.uniform(1.5, 4.5)
    changes = any(len(set(p.actions)) > 1 for p in clip.people)
    if rng.random() < 0.125 and not changes:
        half = rng.uniform(1.0, 2.5)
        middle = rng.uniform(half, words.DURATION_S - half)
    return f"{middle - half:.2f}-{middle + half:.2f}"


def _question(
    clip: world.Clip, said: Talk, kind: str, rng: np.random.Generator
) -> tuple[str, list[str], str]:
    """Text, five candidates, and the right one of them."""
    if kind in ("topic", "speaker"):
        return _about_speech(said, kind, rng)
    if kind == "scene":
        places = [words.SCENES[s] for s in clip.scenes]
        return "Where does this take place?", places, words.SCENES[clip.scene]
    if kind in ("class", "colour"):
        return _about_thing(clip, kind, rng)
    person = clip.people[0]
    if len(clip.people) > 1 and rng.random() < 0.3:
        person = clip.people[int(rng.integers(1, len(clip.people)))]
    if kind == "doing":
        text = f"What is the person in the {person.shirt} shirt doing?"
        phrases = [words.ACTION_PHRASES[a] for a in clip.actions]
        return text, phrases, words.ACTION_PHRASES[person.action]
    form = "the person in {}" if rng.random() < 0.5 else "somebody in {}"
    text = f"Who is {words.ACTION_PHRASES[person.action]}?"
    return text, [form.format(c) for c in clip.colours], form.format(person.shirt)


def _about_thing(
    clip: world.Clip, kind: str, rng: np.random.Generator
) -> tuple[str, list[str], str]:
    main, word = clip.things[0], words.THING_WORD[clip.domain]
    does = "is moving" if main.is_moving else "stays still"
    if kind == "class":
        form = "the {}" if rng.random() < 0.5 else "a {}"
        text = f"Which {word} {does}?"
        return text, [form.format(c) for c in clip.classes], form.format(main.label)
    text = f"What is the colour of the {word} that {does}?"
    return text, list(clip.colours), main.colour


def _about_speech(
    said: Talk, kind: str, rng: np.random.Generator
) -> tuple[str, list[str], str]:
    which = int(rng.integers(2))
    speaker, subject = said.speakers[which], said.subjects[which]
    if kind == "topic":
        topics = [f"the {t}" for t in said.topics]
        return f"What does {speaker} talk about?", topics, f"the {subject}"
    return f"Who talks about the {subject}?", list(said.names), speaker


def to_srt(lines: tuple[Line, ...]) -> str:
    """SubRip text; speakers in parentheses, as TVQA's subtitles have them."""
    blocks = []
    for number, line in enumerate(lines, 1):
        times = f"{_clock(line.start_s)} --> {_clock(line.end_s)}"
        speaker = f"({line.speaker}:)" if line.speaker else ""
        blocks.append(f"{number}\n{times}\n{speaker}{line.text}\n")
    return "\n".join(blocks)


def _clock(seconds: float) -> str:
    whole_ms = round(1000 * seconds)
    minutes, left_ms = divmod(whole_ms, 60_000)
    return f"00:{minutes:02d}:{left_ms // 1000:02d},{left_ms % 1000:03d}"


def questions(
    domain: world.Domain, split: world.Split, count: int, seed: int
) -> Iterator[dict]:
    """The questions of the first `count` clips, three each; nothing is rendered."""
    for index in range(count):
        clip = world.script(domain, split, index, seed)
        yield from ask(clip, talk(clip, seed), seed)


def texts(
    domain: world.Domain, split: world.Split, count: int, seed: int
) -> Iterator[str]:
    """All text of the first `count` clips: subtitles, questions, their candidates."""
    for index in range(count):
        clip = world.script(domain, split, index, seed)
        said = talk(clip, seed)
        for line in said.lines:
            yield f"({line.speaker}:)" + line.text if line.speaker else line.text
        for row in ask(clip, said, seed):
            yield row["q"]
            yield from (row[key] for key in SPAN_KEYS)
