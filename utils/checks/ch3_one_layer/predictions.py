"""Chapter 3: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="direct_path_in_context",
        question=(
            "Take a text and shuffle all tokens but the last. What happens to the "
            "direct path's part of the logits at the last position?"
        ),
        choices=(
            Choice(
                "It changes a little, because of the new positions.",
                "Positions enter only what W_Q and W_K read. The direct path has "
                "neither of them.",
            ),
            Choice(
                "It stays exactly the same.",
                "The direct path leads from a token to the logits at its own place and "
                "never looks anywhere else. It can only hold bigrams.",
            ),
            Choice(
                "It changes, because the heads see another context.",
                "The heads' paths do change. The direct path is the part that goes "
                "past all heads.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="constant_on_a_row",
        question=(
            "Someone adds 7 to every entry of one row of a full QK circuit: one query "
            "token now gives every key a score higher by 7. What does the model do?"
        ),
        choices=(
            Choice(
                "It attends more strongly wherever that token is the query.",
                "Attention is shared out by a softmax. When every key gains the same, "
                "no key gains anything.",
            ),
            Choice(
                "Nothing changes at all.",
                "A softmax forgets a constant. This is why entries of two different "
                "rows cannot be compared as they are.",
            ),
            Choice(
                "The pattern becomes sharper.",
                "Sharper would be a factor on the scores. A constant added to all of "
                "them drops out of the softmax.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="how_many_copy",
        question=(
            "In the paper's one-layer model, 10 of 12 heads have a copying score above "
            "0.5. How many do you expect among the 8 heads of ours, trained on Python "
            "code?"
        ),
        choices=(
            Choice(
                "At most three: code is not repetitive enough.",
                "Names and words come back all the time in code, so a token that was "
                "seen is a good guess for what comes next.",
            ),
            Choice(
                "Between four and seven.",
                "Copying is what a single layer of attention does best, and some heads "
                "look by position and have other things to write. The number, and what "
                "random heads reach, is printed below.",
            ),
            Choice(
                "All eight.",
                "Some heads are busy with the present and the previous token. Those "
                "look by position and have other things to write.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="crossed_trigrams",
        question=(
            "A head learned `keep ... in -> mind` and `keep ... at -> bay`. Its "
            "attention depends on the pair (keep, in) or (keep, at), and what it "
            "writes depends on keep alone. What does it do after `keep ... in`?"
        ),
        choices=(
            Choice(
                "It raises mind and leaves bay alone.",
                "It cannot. What it writes is decided by the source alone, and the "
                "source keep has to raise both words.",
            ),
            Choice(
                "It raises mind, and it raises bay as well.",
                "The row of keep in the OV circuit has to serve both rules. The paper "
                "calls the crossed cases skip-trigram bugs.",
            ),
            Choice(
                "It raises neither, because the two rules cancel.",
                "Both rules want something raised, so nothing cancels.",
            ),
        ),
        right=1,
    ),
)
