"""Chapter 7: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="which_heads_stop",
        question=(
            "The sender is set to zero, one head of all. Which induction heads lose "
            "their prefix matching?"
        ),
        choices=(
            Choice(
                "None: in a large model others do the same and take over.",
                "Others may send the same news. How much they make good is what the "
                "numbers after the cut say, head by head.",
            ),
            Choice(
                "All heads of all later layers lose a little, induction heads no more "
                "than others.",
                "A head that everything rests on would do that. The controls below are "
                "there to see it: other heads that look one back, cut alike.",
            ),
            Choice(
                "Those in whose keys its weights are read most strongly.",
                "That is what K-composition claims: the induction head finds the news "
                "in its keys, and the weights say who writes it there. Compare the two "
                "columns.",
            ),
        ),
        right=2,
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
                "The score follows one path only: W_E, the head, W_U. A head behind "
                "MLPs reads something else than W_E, and what it writes may be turned "
                "into the token's logit by later layers.",
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
