"""Chapter 3: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
    Prediction(
        name="constant_on_a_row_again",
        question=(
            "One key token gets a score higher by 7 from every query: a whole column "
            "of the full QK circuit rises by 7. What does the model do?"
        ),
        choices=(
            Choice(
                "Nothing changes, a softmax forgets a constant.",
                "It forgets what is added to all keys of one query. Here one key gains "
                "and the others do not.",
            ),
            Choice(
                "It attends far more to that token, from everywhere.",
                "Along a row this one entry has grown by 7, and the softmax sees that. "
                "Rows have free constants, columns have none.",
            ),
            Choice(
                "It attends more strongly wherever that token is the query.",
                "The column belongs to the key, the token that is looked at.",
            ),
        ),
        right=1,
        of="constant_on_a_row",
    ),
    Prediction(
        name="crossed_trigrams_again",
        question=(
            "A head's source `x` has to raise `p` at one destination, and to lower it "
            "at another. Can one head do this, by what it writes from `x`?"
        ),
        choices=(
            Choice(
                "No: it can only write more or less of the same row.",
                "Attention is never negative. Where `p` must not rise, the head can "
                "look away from `x`, and lower nothing.",
            ),
            Choice(
                "Yes, with a negative attention weight.",
                "A softmax gives no negative weights.",
            ),
            Choice(
                "Yes, if W_OV has a negative eigenvalue.",
                "Then the row of `x` may lower `p`, at both destinations alike.",
            ),
        ),
        right=0,
        of="crossed_trigrams",
    ),
    Prediction(
        name="direct_path_in_context_again",
        question=(
            "Take the position vectors away: W_pos is zero everywhere. Shuffle all "
            "tokens but the last. Which paths change at the last position?"
        ),
        choices=(
            Choice(
                ("Those of the heads, as they see another context."),
                (
                    "They see the same tokens, and without positions an order is "
                    "nowhere to be seen. Scores depend on tokens alone, and the sum "
                    "over sources is the same."
                ),
            ),
            Choice(
                ("None."),
                (
                    "The direct path sees one token. A head without positions sees a "
                    "heap of tokens, and shuffling a heap leaves it as it was."
                ),
            ),
            Choice(
                ("Only those of heads that look by position."),
                (
                    "Those are changed most by losing the positions. Once these are "
                    "gone, no head can tell one order from another."
                ),
            ),
        ),
        right=1,
        of="direct_path_in_context",
    ),
    Prediction(
        name="how_many_copy_again",
        question=(
            "The next chapter's models have two layers of eight heads. Where will the "
            "heads be whose centred copying score is above 0.5?"
        ),
        choices=(
            Choice(
                ("Mostly in layer 0: it sees the tokens as they are."),
                (
                    "It does, but it need not speak to the logits. What it writes is "
                    "also read by layer 1."
                ),
            ),
            Choice(
                ("Mostly in layer 1: it stands right before W_U."),
                (
                    "Copying is one of the last steps, once it is known what to copy. "
                    "These are two models only, and the paper's show the same."
                ),
            ),
            Choice(
                ("As many in one as in the other."),
                (
                    "It would be so if both layers had the same work. Layer 0 also "
                    "works for layer 1."
                ),
            ),
        ),
        right=1,
        of="how_many_copy",
    ),
)
