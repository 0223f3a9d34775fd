"""Chapter 5: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="below_chance",
        question=(
            "A model reads 64 random tokens, all different, and then the same 64 "
            "again. On the second copy its loss falls from ln(4096) = 8.3 to 3.3 "
            "nats. Does it do induction?"
        ),
        choices=(
            Choice(
                "Yes: without looking up what came after, it could not beat chance.",
                "It could. Knowing which 64 tokens are around is enough for "
                "ln 64 = 4.2 nats, and striking off used ones for a mean of 3.2.",
            ),
            Choice(
                "That cannot be told. Knowing which tokens occurred may be enough.",
                "Whoever knows the set and strikes off what was used reaches a mean of "
                "ln(63!)/63 = 3.2 nats after the first token, without knowing any "
                "order. Only a loss clearly below that needs the order.",
            ),
            Choice(
                "No: induction would bring the loss to exactly 0.",
                "A real head is never quite sure, so some loss always remains.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="where_it_looks",
        question=(
            "The row is `<start> p q r s p q r s`. An induction head has just read the "
            "second q (position 6). Which position does it attend to?"
        ),
        choices=(
            Choice(
                "2, the first q.",
                "That would be a duplicate-token head. It finds what it has already: "
                "copying from there predicts q again.",
            ),
            Choice(
                "3, the first r.",
                "The token after the earlier q. It is r that should come next, so r is "
                "where there is something to copy.",
            ),
            Choice(
                "1, the first p.",
                "This is what the published sentence says if read word by word: the "
                "token that preceded the same token. It is a slip of the pen.",
            ),
            Choice(
                "5, the second p.",
                "That is what a previous-token head does. It plays a part, but in the "
                "first layer.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="kept_out_tokens",
        question=(
            "Before training, a tenth of all tokens was kept out of the repeated rows. "
            "They occur in text, but the model never saw random repeats of them. How "
            "will it do on repeats made of these tokens only?"
        ),
        choices=(
            Choice(
                "As well as on tokens that it did see repeated, or nearly so.",
                "It would, if these tokens were like all others to the heads. But text "
                "alone has shaped their vectors, and most guesses are wrong.",
            ),
            Choice(
                "In between: far better than chance, far worse than on the others.",
                "Each head still finds part of the places and copies part of what "
                "stands there. Is that the fault of the heads, or of these tokens? "
                "The rows called made up tell.",
            ),
            Choice(
                "At chance or worse: it never learned to copy these tokens.",
                "It is right hundreds of times as often as chance. The heads do not "
                "work from a list of tokens.",
            ),
            Choice(
                "The heads find the places as well as ever, but cannot copy.",
                "Finding needs the tokens' vectors as well, to compare query and key. "
                "The scores of both fall alike.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="which_edge",
        question=(
            "A second-layer head reads the first layer through three inputs: W_Q, W_K "
            "and W_V. You cut one of the three edges from the previous-token head to "
            "an induction head. Which cut ends induction?"
        ),
        choices=(
            Choice(
                "The edge into W_Q.",
                "Then the query would be the previous token. The query is the current "
                "token itself, which stands in the embedding.",
            ),
            Choice(
                "The edge into W_K.",
                "A position's key must say what stood before it. Only the "
                "previous-token head knows, so this is K-composition.",
            ),
            Choice(
                "The edge into W_V.",
                "Then the head would copy the token before the attended one, which is "
                "the token it already has.",
            ),
            Choice(
                "Any of the three.",
                "Three edges carry three different things, and a head may ignore two "
                "of them.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="sign_flip",
        question=(
            "Multiply W_V of the previous-token head by -1. What happens to the "
            "K-composition score with the induction head, and to its same-matching "
            "score?"
        ),
        choices=(
            Choice(
                "Both change their sign.",
                "The composition score is made of norms, which are never negative.",
            ),
            Choice(
                "Composition stays the same, same-matching changes its sign.",
                "A norm does not see a sign; an eigenvalue does. So strong composition "
                "does not by itself mean matching, and finding positive eigenvalues "
                "says something new.",
            ),
            Choice(
                "Both stay the same.",
                "The key now holds the opposite of the previous token. Something has "
                "to notice.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="pointer_edge",
        question=(
            "Another model does induction, too. At the second q its first head finds "
            "the first q and fetches its position. Its second head looks one place "
            "further on. Which edge from the first to the second head carries this?"
        ),
        choices=(
            Choice(
                "K, as before: this is what induction is.",
                "Induction is a behaviour. Here the keys are plain positions.",
            ),
            Choice(
                "Q: the fetched position is part of the query.",
                "The first head puts a pointer into the stream, and the second head's "
                "query asks for the position one further on.",
            ),
            Choice(
                "V: the fetched position is what gets copied.",
                "What is copied is the token at the position pointed at.",
            ),
        ),
        right=1,
    ),
)
