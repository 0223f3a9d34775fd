"""Chapter 1: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
    Prediction(
        name="turn_the_stream_again",
        question=(
            "Two copies of a model give the same logits on every text. In one of them "
            "entry 40 of the stream is zero at every position and in the other it is "
            "not. Is one of them broken?"
        ),
        choices=(
            Choice(
                "Yes, the stream of the same model has the same numbers.",
                "The numbers depend on the basis, and a basis can be changed together "
                "with all weights.",
            ),
            Choice(
                "Yes, unless one of them was trained for longer.",
                "Different trainings would not give the same logits on every text.",
            ),
            Choice(
                "No: one may be the other in a turned basis.",
                "Every part reads and writes through a matrix, and these can turn "
                "along. Logits do not notice, single entries do.",
            ),
        ),
        right=2,
        of="turn_the_stream",
    ),
    Prediction(
        name="rank_of_ov_again",
        question=(
            "A model has one layer of 8 heads, d_head 16 and d_model 256. Two "
            "positions have streams that differ in some direction that no head can "
            "pass on. How many such directions must there be, at least?"
        ),
        choices=(
            Choice(
                "None: together the heads can read everything.",
                "Each head reads through 16 numbers, so all of them together read 128 "
                "directions at most.",
            ),
            Choice(
                "128, as 8 times 16 directions can be read by values.",
                "Of 256 dimensions at most 128 reach any value. What lies in the rest "
                "is passed on by no head, only by the stream itself.",
            ),
            Choice(
                "240, as one head reads 16.",
                "That is the count for a single head. Eight of them can read eight "
                "times as much.",
            ),
        ),
        right=1,
        of="rank_of_ov",
    ),
    Prediction(
        name="twice_the_stream_again",
        question=(
            "With frozen patterns, text X gives logits x and text Y of the same length "
            "gives logits y, both run with the patterns of X. You feed the mean of the "
            "two embeddings, with the same patterns. What are the logits?"
        ),
        choices=(
            Choice(
                "The mean of x and y.",
                "With the patterns fixed the model is linear in its embeddings, so a "
                "mean goes in and a mean comes out.",
            ),
            Choice(
                "Something between x and y that has to be computed.",
                "Nothing in it bends when the patterns are fixed, so the result is "
                "known beforehand.",
            ),
            Choice(
                "The logits of neither: a mean of two embeddings is no token.",
                "No token is needed. A linear map takes any vector.",
            ),
        ),
        right=0,
        of="twice_the_stream",
    ),
    Prediction(
        name="five_on_every_logit_again",
        question=(
            "You double all logits at a position. What happens to the model's "
            "prediction there?"
        ),
        choices=(
            Choice(
                ("Nothing: the softmax only sees differences."),
                (
                    "It does, and doubling the logits doubles every difference. "
                    "Adding a constant is what leaves them alone."
                ),
            ),
            Choice(
                ("The first guess stays, and it gets a larger probability."),
                (
                    "The order stays, and the distances grow. So whoever compares the "
                    "sizes of two models' logits compares how sure they are."
                ),
            ),
            Choice(
                ("Rarer tokens gain, as their logits rise as well."),
                ("Each logit is doubled, and the largest one gains most."),
            ),
        ),
        right=1,
        of="five_on_every_logit",
    ),
    Prediction(
        name="one_head_silent_again",
        question=(
            "You silence 0.3, and the stream at the end of the model changes by A. "
            "You silence 0.5 and it changes by B. What does silencing both of them "
            "do?"
        ),
        choices=(
            Choice(
                ("A + B, exactly: heads of one layer know nothing of each other."),
                (
                    "So it is at the end of layer 0. But then layer 1 reads what both "
                    "wrote, and its patterns bend."
                ),
            ),
            Choice(
                ("Nearly A + B, and not exactly."),
                (
                    "Heads of layer 1 read both, through a softmax. What they make of "
                    "both missing is not the sum of what they make of each."
                ),
            ),
            Choice(
                ("Far less than A + B: other heads take over."),
                (
                    "No head takes anything over while the model runs. Heads of layer "
                    "0 do not even notice."
                ),
            ),
        ),
        right=1,
        of="one_head_silent",
    ),
    Prediction(
        name="identity_times_w_again",
        question=(
            "Four positions, three numbers each, and a pattern A that looks at "
            "nothing in the future. Of the 144 entries of A ⊗ Id, how many can be "
            "other than zero?"
        ),
        choices=(
            Choice(
                ("30."),
                (
                    "The pattern has 4 + 3 + 2 + 1 entries, and each of them stands "
                    "on the diagonal of a 3 by 3 block."
                ),
            ),
            Choice(
                ("36."),
                ("That is Id ⊗ W: four full blocks of 3 by 3."),
            ),
            Choice(
                ("48."),
                ("Without a mask it would be so: 16 entries of A, each three times."),
            ),
            Choice(
                ("90."),
                (
                    "That is the whole head, A ⊗ W, with ten full blocks. Here the "
                    "right side is the identity, so a block has its diagonal only."
                ),
            ),
        ),
        right=0,
        of="identity_times_w",
    ),
    Prediction(
        name="twice_one_back_again",
        question=(
            "Head 0.0 attends evenly to all it can see, and head 1.0 attends one "
            "position back. The stream goes through 0.0 and then, as a value, through "
            "1.0. Whose information arrives at position 7?"
        ),
        choices=(
            Choice(
                ("That of positions 0 to 6, a seventh each."),
                (
                    "1.0 fetches what stands at 6, and there 0.0 has written the mean "
                    "of all that 6 can see."
                ),
            ),
            Choice(
                ("That of positions 0 to 7, an eighth each."),
                (
                    "Position 7 cannot come in: 1.0 fetches from 6, and 6 does not "
                    "see 7."
                ),
            ),
            Choice(
                ("That of position 6 alone."),
                (
                    "1.0 fetches from 6. What 0.0 wrote there is a mean over seven "
                    "positions."
                ),
            ),
            Choice(
                ("That of 0 to 6, and of 0 twice as much as of each other one."),
                (
                    "So it is in the other order: first one back, where position 0 "
                    "can only see itself, and then the mean."
                ),
            ),
        ),
        right=0,
        of="twice_one_back",
    ),
    Prediction(
        name="feeds_which_inputs_again",
        question=(
            "You take away what one head of layer 0 wrote at position 8, and leave "
            "all else it wrote. In which rows of a layer-1 head's pattern can "
            "something change?"
        ),
        choices=(
            Choice(
                ("In row 8 alone: that position's stream has changed."),
                (
                    "Row 8 is where it acts as a query. It is a key as well, and "
                    "later positions look at it."
                ),
            ),
            Choice(
                ("In row 8 and in all rows after it."),
                (
                    "As a query it decides what row 8 wants, and as a key what later "
                    "rows find there. Earlier rows cannot see it."
                ),
            ),
            Choice(
                ("In no row: a head sends values, and patterns are made from tokens."),
                (
                    "Queries and keys of layer 1 read the stream, and the stream "
                    "holds what layer 0 wrote."
                ),
            ),
        ),
        right=1,
        of="feeds_which_inputs",
    ),
    Prediction(
        name="random_directions_again",
        question=(
            "In 256 dimensions two random directions have a typical cosine of 1/16. "
            "How many dimensions make it half as large?"
        ),
        choices=(
            Choice(
                ("512."),
                ("Twice the dimensions make it smaller by the root of two only."),
            ),
            Choice(
                ("1,024."),
                (
                    "It is one over the root of the dimensions. Half as large takes "
                    "four times as many."
                ),
            ),
            Choice(
                (
                    "It does not depend on the dimensions, but on how many directions "
                    "there are."
                ),
                ("For two of them it does not matter how many others there are."),
            ),
        ),
        right=1,
        of="random_directions",
    ),
)
