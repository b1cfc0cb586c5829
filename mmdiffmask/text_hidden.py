"""What a run's masks of texts hide, counted over the windows that it is trained on."""

from collections.abc import Collection, Iterator

from mmdiffmask.data import word_classes
from mmdiffmask.masking import text_summary
from mmdiffmask.text_examples import Draw, Windows


def summarise(
    some: Windows, draw: Draw, anchors: Collection[str]
) -> text_summary.TextMaskSummary:
    """The summary of the masks of the first epoch.

    Args:
      some: windows that are trained on.
      draw: the run's own masks.
      anchors: of the run; () where no strategy of it goes by them.
    """
    lower = frozenset(word.lower() for word in anchors)
    class_of_word: dict[str, str] = {}

    def each() -> Iterator[text_summary.Hidden]:
        for position in range(len(some)):
            _, window = some.window(position)
            is_masked, _ = draw(position, 0)
            classes = word_classes.of_words(window.words, lower)
            names = (word_classes.CLASSES[number] for number in classes)
            class_of_word.update(zip(window.words, names, strict=True))
            yield text_summary.Hidden(window.words, window.unit_of_piece, is_masked)

    masks = list(each())  # all words have a class before any is looked up
    left_out = (word_classes.CLASSES[word_classes.FUNCTION],)
    return text_summary.summarise(masks, class_of_word, left_out, tuple(anchors))
