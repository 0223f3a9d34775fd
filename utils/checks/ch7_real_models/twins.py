"""Chapter 7: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
    Prediction(
        name="what_a_cut_shows_again",
        question=(
            "A head is taken away and the model can no longer close brackets. Somebody "
            "calls it the bracket head. Which test would you ask for first?"
        ),
        choices=(
            Choice(
                "The same cut on another hundred texts with brackets.",
                "It makes the effect surer, and leaves the same question open: what "
                "did the head do for it?",
            ),
            Choice(
                "The same cut on texts without brackets, and other heads cut on these "
                "texts.",
                "If it harms everything, or if other heads do the same, the name says "
                "too much. Narrower cuts come next.",
            ),
            Choice(
                "A look at its attention on one text.",
                "A pattern suggests a story, and the story has to be tested.",
            ),
        ),
        right=1,
        of="what_a_cut_shows",
    ),
    Prediction(
        name="copying_singles_out_again",
        question=(
            "In a deep model a head has a copying score of -0.2. On repeated random "
            "tokens it raises the right token's logit at nearly every place. Which is "
            "true?"
        ),
        choices=(
            Choice(
                "The second is a mistake, as a negative score means that it does not "
                "copy.",
                "The second is a measurement in the whole model, the first a sum over "
                "one path.",
            ),
            Choice(
                "Both: they ask about different paths.",
                "The score goes from the embedding through this head to the logits. In "
                "the model the head reads what other layers have made of the token, "
                "and others read what it writes.",
            ),
            Choice(
                "The first is a mistake, as it copies.",
                "The eigenvalues may well be negative, over all tokens, while the head "
                "copies those it meets.",
            ),
        ),
        right=1,
        of="copying_singles_out",
    ),
)
