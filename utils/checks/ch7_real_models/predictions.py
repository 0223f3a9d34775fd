"""Chapter 7: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="what_a_cut_shows",
        question=(
            "Suppose the sender is cut, one head of all, and the loss on the second "
            "copy rises by six nats. What does this alone show?"
        ),
        choices=(
            Choice(
                "That the induction heads find the sender's news in their keys.",
                "It fits that story, and others too. A head that all heads build on "
                "would do the same. Hiding it from the keys alone is what tests the "
                "keys.",
            ),
            Choice(
                "That what the sender writes is needed for repeats, by whom and on "
                "which way is open.",
                "So two things have to come: controls, heads that are cut alike and "
                "should not matter, and narrower cuts, which hide the sender from one "
                "input only.",
            ),
            Choice(
                "Nothing: cutting any head of a model does damage.",
                "Damage of that size from any head would be news. The controls below "
                "say how much other heads cost.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="copying_singles_out",
        question=(
            "An induction head has to copy the token it attends to. Will the copying "
            "score, from weights, single out the induction heads among all heads?"
        ),
        choices=(
            Choice(
                "Yes, as in two layers: they will have the highest scores.",
                "It was so in two layers, where W_U reads what a head writes. With "
                "more layers and MLPs in between, much can happen to it on the way.",
            ),
            Choice(
                "Not reliably: many heads have high scores, and an induction head may "
                "have a low one.",
                "The score follows one path only: W_E, the head, W_U. Whatever MLPs "
                "and other layers do before and after is not in it, so it need not "
                "agree with what the head does in the whole model.",
            ),
            Choice(
                "No: all heads of a language model will be near zero.",
                "Look at the share above 0.5, and at the same share of mixed-up heads "
                "beside it.",
            ),
        ),
        right=1,
    ),
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
