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
)
