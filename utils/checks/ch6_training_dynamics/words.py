"""Chapter 6: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_measures",
        question=(
            "What does the in-context learning score measure, and why is that of a "
            "bigram table taken off?"
        ),
        answer=(
            "How much less a model pays for late tokens than for early ones; negative "
            "means that it learns from its context. Whether late tokens happen to be "
            "harder is luck of the chosen texts. A bigram table has this luck and "
            "nothing else, so it is taken off."
        ),
    ),
    Words(
        name="words_side_by_side",
        question=(
            "What do one and two layers do on random repeats in the course of "
            "training, and why does one layer end above chance?"
        ),
        answer=(
            "At first both look the same. Then two layers form a head that looks one "
            "back and a head that matches, and the loss falls far below the bound for "
            "knowing the set. One layer cannot find the place, and is sure of things "
            "that hold in text and not in noise."
        ),
    ),
    Words(
        name="words_data",
        question=(
            "Which part of what you saw did the repeats in the data make, and which "
            "part comes from text alone?"
        ),
        answer=(
            "The repeats make the size of the fall on repeated noise, and bring the "
            "heads sooner. Heads that match, and some copying, come from text alone "
            "with two layers. The loss against chance hides this, so the second copy "
            "is compared with the first."
        ),
    ),
    Words(
        name="words_phase_change",
        question=(
            "By which rule may one call a change sudden, and what does a coincidence "
            "of changes not show?"
        ),
        answer=(
            "Slide a window of fixed length along the curve and take the largest "
            "change; an even curve has just the window's share. Look at the change "
            "itself, too. That several things change together does not show which one "
            "causes the others."
        ),
    ),
    Words(
        name="words_which_tokens",
        question=(
            "Which tokens gain when induction forms, and how would you find a price "
            "that is paid?"
        ),
        answer=(
            "Those that continue as they did the last time in the window. Tokens that "
            "continue otherwise could pay for it: look at their mean, and count how "
            "many single ones got worse, beside a model in which no such heads form."
        ),
    ),
    Words(
        name="words_path",
        question=(
            "What is plotted when training is drawn as a path, and what should make "
            "one careful about its turns?"
        ),
        answer=(
            "Each snapshot is a list of losses on fixed tokens, and the two directions "
            "of largest spread are drawn. An angle depends on the moment, on how far "
            "one looks before and after, and on the plane. In all axes the turn may "
            "drown in noise."
        ),
    ),
    Words(
        name="words_one_change",
        question=(
            "What do smeared keys show that watching a training cannot show, and what "
            "do repeats at one fixed distance teach?"
        ),
        answer=(
            "They change one thing, a key that knows its neighbour, and the change of "
            "training follows: that is an intervention. Repeats at one distance can be "
            "learned as a distance. A model that does so looks like induction as long "
            "as nothing else is tested."
        ),
    ),
)
