"""The demo is a small invented film world with a planted taste, written in the formats that real sources publish.

It exists to run every real code path in minutes, never as evidence of a model's accuracy.
"""

from kgrec.data.demo.generate import generate
from kgrec.data.demo.world import DemoSettings, TasteMix, World, make_world

__all__ = ["DemoSettings", "TasteMix", "World", "generate", "make_world"]
