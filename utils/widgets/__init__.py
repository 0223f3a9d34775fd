"""Explorers: small pages with controls, for moving through a model by hand.

Called by the chapters. Each takes the analysis functions as arguments, so that a
learner can plug in their own, and shows its first state also where no script runs.
"""

from utils.widgets.circuits import circuit_browser
from utils.widgets.composition import composition_browser
from utils.widgets.dials import head_dials
from utils.widgets.dynamics import TrainingPanel, training_panel
from utils.widgets.gallery import head_gallery
from utils.widgets.ledgers import path_ledger, residual_ledger
from utils.widgets.microscope import induction_microscope
from utils.widgets.parts import Explorer
from utils.widgets.patterns import pattern_browser

__all__ = [
    "Explorer",
    "TrainingPanel",
    "circuit_browser",
    "composition_browser",
    "head_dials",
    "head_gallery",
    "induction_microscope",
    "path_ledger",
    "pattern_browser",
    "residual_ledger",
    "training_panel",
]
