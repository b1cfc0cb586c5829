"""A toy video-QA set in TVQA's raw layout, rendered from a seed.

`render` writes a raw tree; `texts` and `questions` give its words without rendering.
Three domains: "general" (objects and scenes, few people), "people" (two or three
people; what is new is what they do) and "objects" (as many people; what is new is a
class of objects, vehicles). Scripts are in `world`, pictures in `draw`, sound in
`sound`, questions and subtitles in
`language`.
"""

from preprocessing.toy.language import questions, texts
from preprocessing.toy.words import VERSION
from preprocessing.toy.write import render

__all__ = ["VERSION", "questions", "render", "texts"]
