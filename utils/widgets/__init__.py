"""Explorers: small pages with controls, for moving through a model by hand.

Called by the chapters. Each takes the analysis functions as arguments, so that a
learner can plug in their own, and shows its first state also where no script runs.
"""

from utils.widgets.circuits import circuit_browser
from utils.widgets.dials import head_dials
from utils.widgets.ledgers import residual_ledger
from utils.widgets.parts import Explorer
from utils.widgets.patterns import pattern_browser

__all__ = [
    "Explorer",
    "circuit_browser",
    "head_dials",
    "pattern_browser",
    "residual_ledger",
]
