"""Multi-object tracking as UniTrack's box association does it.

Wang et al. 2021, "Do Different Tracking Tasks Require Different Appearance Models?";
boxes.md has the algorithm with every constant.
"""
