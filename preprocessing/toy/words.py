"""The words of the toy world: what there is in each of its three domains."""

VERSION = 1  # of the generator: one more whenever any clip would come out otherwise

FRAMES = 34
FRAMES_PER_S = 3.0
DURATION_S = FRAMES / FRAMES_PER_S
WIDTH_PX, HEIGHT_PX = 320, 192

DOMAINS = ("general", "people", "objects")
SPLITS = ("train", "val")

COLOURS = {  # RGB
    "red": (205, 45, 45),
    "yellow": (232, 200, 45),
    "green": (45, 150, 60),
    "blue": (45, 80, 205),
    "purple": (140, 55, 175),
    "cyan": (70, 200, 215),
}

# `people` brings outlines that occur nowhere else, but for walking; `objects` has as
# many people as `people`, but they do what people of `general` do.
PLAIN_ACTIONS = ("standing", "waving", "walking", "turned", "posing")
# Nobody lies or sits on the ground: the person detector found 0 and 25 % of these.
NEW_ACTIONS = ("cheering", "pointing", "sitting", "walking", "crouching", "bending")
ACTIONS = {
    "general": PLAIN_ACTIONS,
    "people": NEW_ACTIONS,
    "objects": PLAIN_ACTIONS,
}
ACTION_PHRASES = {
    "standing": "standing around",
    "waving": "waving a hand",
    "walking": "walking",
    "turned": "looking away",
    "posing": "posing with hands on hips",
    "cheering": "cheering with both arms",
    "pointing": "pointing at something",
    "sitting": "sitting down",
    "crouching": "crouching on the ground",
    "bending": "bending forward",
}

# The vehicles of `objects` occur in no other domain.
PLAIN_CLASSES = ("ball", "crate", "kite", "cup", "star", "ladder")
VEHICLES = ("car", "boat", "plane", "rocket", "bus", "balloon")
CLASSES = {"general": PLAIN_CLASSES, "people": PLAIN_CLASSES, "objects": VEHICLES}
THING_WORD = {"general": "object", "people": "object", "objects": "vehicle"}

SCENES = {
    "meadow": "on the meadow",
    "beach": "on the beach",
    "street": "in the street",
    "room": "in the room",
    "snow": "in the snow",
    "forest": "in the forest",
}

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Gina", "Hugo")
TOPICS = (
    "tea",
    "bread",
    "music",
    "rain",
    "dinner",
    "money",
    "letters",
    "school",
)


def video_name(domain: str, split: str, index: int) -> str:
    """A clip's name in TVQA's form; train is season 1, val season 2.

    >>> video_name("people", "train", 23)
    'people_s01e003_seg01_clip_03'
    """
    season = SPLITS.index(split) + 1
    episode, place = divmod(index, 10)
    segment, clip = divmod(place, 5)
    return (
        f"{domain}_s{season:02d}e{episode + 1:03d}_seg{segment + 1:02d}_clip_{clip:02d}"
    )
