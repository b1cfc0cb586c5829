"""Chooses which of a file's sound tracks is used."""

import dataclasses
from collections.abc import Sequence

from av.stream import Disposition

from preprocessing.media import languages

# Beside the programme or in its place: comments, descriptions, parts of a mix.
ASIDE = (
    Disposition.comment
    | Disposition.descriptions
    | Disposition.visual_impaired
    | Disposition.clean_effects
    | Disposition.non_diegetic
    | Disposition.karaoke
    | Disposition.dependent
)
NO_DECODER = "its sound cannot be decoded: there is no decoder for it"


@dataclasses.dataclass(frozen=True)
class SoundTrack:
    """One sound track of a file.

    Attributes:
      number: among the file's sound tracks, from 1.
      index: among all its streams.
      language: as the file says it; "" if it does not.
      is_default: marked so.
      is_aside: a commentary, a description or the like.
      is_known: there is a decoder for it.
      is_wanted: what the user chose.
    """

    number: int
    index: int
    language: str
    is_default: bool
    is_aside: bool
    is_known: bool
    is_wanted: bool

    @property
    def name(self) -> str:
        """What it is called to the user."""
        tag = f" ({self.language})" if self.language else ""
        return f"sound track {self.number}{tag}"


def listed(streams: Sequence, wanted: str | None) -> list[SoundTrack]:
    """A file's sound tracks, the one to be used first, then what may stand for it.

    What the user chose; else the programme before comments on it; else what is marked
    as default; else the first, as players do.

    Args:
      streams: the container's streams of sound.
      wanted: a number from 1 or a language's tag; None = no choice.
    """
    tracks = []
    for number, stream in enumerate(streams, 1):
        language = stream.metadata.get("language", "")
        marks = stream.disposition
        tracks.append(
            SoundTrack(
                number=number,
                index=stream.index,
                language="" if language == "und" else language,
                is_default=bool(marks & Disposition.default),
                is_aside=bool(marks & ASIDE),
                is_known=stream.codec_context is not None,
                is_wanted=_is_wanted(wanted, number, language),
            )
        )
    return sorted(
        tracks,
        key=lambda t: (not t.is_wanted, t.is_aside, not t.is_default, t.number),
    )


def _is_wanted(wanted: str | None, number: int, language: str) -> bool:
    if wanted is None:
        return False
    if wanted.isdecimal():
        return int(wanted) == number
    return languages.is_same(wanted, language)


def notes(
    tracks: Sequence[SoundTrack],
    used: SoundTrack,
    failed: Sequence[tuple[SoundTrack, str]],
    wanted: str | None,
) -> tuple[str, ...]:
    """What the user is told of the choice; nothing where there was none.

    Args:
      tracks: as `listed` gave them.
      used: the one that is used.
      failed: those before it, each with a reason.
      wanted: what the user chose.
    """
    sentences = [
        f"its {track.name} is passed over: {reason}" for track, reason in failed
    ]
    if wanted is not None and not any(track.is_wanted for track in tracks):
        missing = (
            f"sound track {wanted}" if wanted.isdecimal() else f"sound in {wanted}"
        )
        sentences.append(f"holds no {missing}: its {used.name} is used")
    elif len(tracks) > 1:
        why = _why(tracks, used, bool(failed))
        sentences.append(f"its {used.name} of {len(tracks)} is used: {why}")
    return tuple(sentences)


def _why(tracks: Sequence[SoundTrack], used: SoundTrack, is_next: bool) -> str:
    if used.is_wanted:
        return "it is the one that was chosen"
    if is_next:
        return "it is the next that can be decoded"
    rivals = [track for track in tracks if track.is_aside == used.is_aside]
    marked = [track for track in rivals if track.is_default]
    if used.is_default and len(marked) < len(rivals):
        return "it is the default one" if len(marked) == 1 else "the first default one"
    return "it is the first" if used.number == 1 else "it is no commentary"
