"""Chapter 5: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
    Prediction(
        name="where_it_looks_again",
        question=(
            "In the pattern of a head, on 30 random tokens that come twice, the bright "
            "stripe is exactly 30 below the diagonal. Which head is this?"
        ),
        choices=(
            Choice(
                "An induction head: it looks at the earlier copy.",
                "An induction head looks one further on, at 29 below the diagonal.",
            ),
            Choice(
                "A head that looks at earlier copies of the present token.",
                "It finds what it has already. Copying from there would repeat the "
                "token that was just read.",
            ),
            Choice(
                "A previous-token head.",
                "That has its stripe 1 below the diagonal.",
            ),
        ),
        right=1,
        of="where_it_looks",
    ),
    Prediction(
        name="below_chance_again",
        question=(
            "In a repeat of 16 tokens, a model's second copy costs 1.8 nats. The mean "
            "cost for someone who knows the set and strikes off used tokens is 1.86. "
            "Has the model used the order?"
        ),
        choices=(
            Choice(
                "Yes, it is below the bound.",
                "By a hair, at one span and on some rows. A loss has to lie clearly "
                "below, at several spans.",
            ),
            Choice(
                "No, order would bring it to 0.",
                "A real head is never quite sure. Small is enough, and 0 is not "
                "needed.",
            ),
            Choice(
                "That cannot be said yet: too near to the bound, and at one span only.",
                "Look at longer spans, where the bound is higher, and compare the "
                "second copy with the first.",
            ),
        ),
        right=2,
        of="below_chance",
    ),
    Prediction(
        name="which_edge_again",
        question=(
            "You leave the weights as they are and change one activation: at the "
            'position of r, the previous-token head writes "x was before me", not '
            '"q was before me". What does an induction head do at the second q?'
        ),
        choices=(
            Choice(
                "It finds r no longer: nothing says any more that q came before it.",
                "The key of r now answers the query x. That news enters by the key.",
            ),
            Choice(
                "It finds r and copies x.",
                "What is copied is r's own token. But r is not found.",
            ),
            Choice(
                "It finds r and copies r, as before: r itself was not changed.",
                "It would, if the head looked for r. It looks for whatever came after "
                "q.",
            ),
        ),
        right=0,
        of="which_edge",
    ),
    Prediction(
        name="sign_flip_again",
        question=(
            "A second-layer head reads strongly what the previous-token head writes, "
            "and it looks away from every place that comes after its own token. What "
            "are its scores?"
        ),
        choices=(
            Choice(
                "A low K-composition and a low same-matching score.",
                "It reads strongly, and reading is what the composition score "
                "measures.",
            ),
            Choice(
                "A high K-composition and a negative same-matching score.",
                "A norm cannot tell looking for from looking away. The sign of the "
                "eigenvalues can.",
            ),
            Choice(
                "A high K-composition and a high same-matching score.",
                "Matching positively means that a token is drawn to the place after "
                "its own copy.",
            ),
        ),
        right=1,
        of="sign_flip",
    ),
    Prediction(
        name="kept_out_tokens_again",
        question=(
            "Kept-out tokens get made-up vectors in W_E alone. In W_U they stay as "
            "text has made them. What will the induction heads do with repeats of "
            "these tokens?"
        ),
        choices=(
            Choice(
                ("Find them and copy them, as heads only read W_E."),
                (
                    "They do read W_E alone, and so they find. But what a head writes "
                    "for a token has to meet that token's column of W_U."
                ),
            ),
            Choice(
                ("Find them as well as made-up tokens, and hardly copy them."),
                (
                    "Finding compares tokens in W_E. Copying leads from W_E to W_U, "
                    "and the two must fit each other."
                ),
            ),
            Choice(
                ("Neither find nor copy them."),
                (
                    "For finding, query and key are both made from W_E, and made-up "
                    "vectors are found."
                ),
            ),
            Choice(
                ("Copy them, but not find them."),
                (
                    "It is the other way round: finding needs one of the two tables, "
                    "copying needs both."
                ),
            ),
        ),
        right=1,
        of="kept_out_tokens",
    ),
    Prediction(
        name="pointer_edge_again",
        question=(
            "At the second q, and only there, you erase all that layer 0 wrote. You "
            "do so in the model that works by previous token and in the one that "
            "works by pointer. Which of them still guesses r?"
        ),
        choices=(
            Choice(
                ("Only the one that works by previous token."),
                (
                    "Its news stands at r, in the key. At q it needs nothing but q "
                    "itself. The pointer stands at q, in the query, and is gone."
                ),
            ),
            Choice(
                ("Only the one that works by pointer."),
                (
                    "The pointer was written by layer 0 at q. Erase it, and the "
                    "second head does not know where to look."
                ),
            ),
            Choice(
                ("Both: r is copied from another place."),
                ("It is, but one of the two has lost the way to that place."),
            ),
            Choice(
                ("Neither: both need their first layer."),
                (
                    "Both need it, at different places. The one by previous token "
                    "needs it at r."
                ),
            ),
        ),
        right=0,
        of="pointer_edge",
    ),
)
