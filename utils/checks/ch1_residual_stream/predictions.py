"""Chapter 1: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="one_head_silent",
        question=(
            "A layer has eight heads. You silence head 0.3, so that it adds nothing. "
            "What happens to what head 0.5, in the same layer, adds to the stream?"
        ),
        choices=(
            Choice(
                "It grows, because the attention of 0.3 is shared among the others.",
                "Each head has its own softmax over positions. There is no attention "
                "to share between heads.",
            ),
            Choice(
                "Nothing.",
                "Heads of one layer read the same stream and know nothing of each "
                "other. Only heads of later layers read what 0.3 wrote.",
            ),
            Choice(
                "It changes a little, through W_O, which mixes all heads.",
                "W_O looks like one big matrix, but it is a stack of one matrix per "
                "head. Multiplying the stack out gives a sum over heads.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="five_on_every_logit",
        question=(
            "A head adds 5 to the logit of every token in the vocabulary. What does "
            "this do to the model's prediction?"
        ),
        choices=(
            Choice(
                "It makes the model surer of the token it prefers.",
                "For that the difference between logits would have to grow. All of "
                "them rose alike.",
            ),
            Choice(
                "Nothing.",
                "The softmax only sees differences of logits. This is why a "
                "contribution is compared with the mean over the vocabulary.",
            ),
            Choice(
                "It makes all tokens more alike in probability.",
                "Adding a constant leaves every ratio of probabilities as it was.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="rank_of_ov",
        question=(
            "W_OV is a d_model by d_model matrix made by W_V [d_model, d_head] and "
            "W_O [d_head, d_model]. How many independent directions can it write?"
        ),
        choices=(
            Choice(
                "d_model, like any matrix of this shape.",
                "Whatever goes through the head is squeezed into d_head numbers first. "
                "What comes out cannot have more directions than that.",
            ),
            Choice(
                "At most d_head.",
                "The product goes through d_head numbers, so its rank is at most "
                "d_head. A head reads and writes a small part of the stream.",
            ),
            Choice(
                "d_head squared.",
                "d_head squared numbers describe a matrix from values to values. Here "
                "directions are counted, and there are at most d_head.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="turn_the_stream",
        question=(
            "You turn every vector of the residual stream by the same random rotation, "
            "and turn all weights with it. What is left of the picture of one "
            "embedding, number by number, and what of the logits?"
        ),
        choices=(
            Choice(
                "Both stay the same.",
                "The numbers of an embedding are its coordinates, and these depend on "
                "the basis. They all change.",
            ),
            Choice(
                "Both change.",
                "Every reader undoes the rotation before it reads, so nothing that the "
                "model computes can change.",
            ),
            Choice(
                "The numbers change, the logits stay.",
                "So dimension 17 of the stream means nothing by itself. Only "
                "directions do, and which directions the matrices read and write.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="identity_times_w",
        question=(
            "Three positions, two numbers each, laid out as six numbers, position "
            "after position. Which entries of the 6 by 6 matrix Id ⊗ W can be other "
            "than zero?"
        ),
        choices=(
            Choice(
                "Three blocks of 2 by 2 on the diagonal, all with the same numbers.",
                "Each position goes through the same W and never meets the others. "
                "This is what per position looks like.",
            ),
            Choice(
                "Only the diagonal.",
                "That would be the identity twice. W may mix the two numbers of one "
                "position, so each block is full.",
            ),
            Choice(
                "All of them.",
                "An entry far from the diagonal joins two positions. The left factor "
                "is the identity, so positions do not mix.",
            ),
            Choice(
                "Six diagonals: each number meets its partner in other positions.",
                "That is A ⊗ Id, which moves vectors across positions and leaves "
                "their numbers alone.",
            ),
        ),
        right=0,
    ),
    Prediction(
        name="twice_the_stream",
        question=(
            "Double the embedding of every token. The attention patterns are frozen: "
            "every head keeps those of the ordinary run. What happens to the logits?"
        ),
        choices=(
            Choice(
                "They double exactly.",
                "With the patterns fixed all that is left are sums and products with "
                "fixed matrices. The softmax was the only step that is not linear.",
            ),
            Choice(
                "They rise by less than double, because the softmax saturates.",
                "It would, but the softmax that makes the patterns is frozen.",
            ),
            Choice(
                "They become four times as large, because there are two layers.",
                "A second layer reads the doubled stream and adds a doubled output. "
                "Sums and products with fixed matrices never square anything.",
            ),
        ),
        right=0,
    ),
    Prediction(
        name="feeds_which_inputs",
        question=(
            "Head 0.2 writes into the stream. Which parts of head 1.4 can see it?"
        ),
        choices=(
            Choice(
                "Only its values: that is where information flows.",
                "Values are what 1.4 moves. Its queries and keys are made from the "
                "same stream, so 0.2 can also change where 1.4 looks.",
            ),
            Choice(
                "Its queries, its keys and its values, each through a matrix of its "
                "own.",
                "W_Q, W_K and W_V all read the stream. So two heads are joined by "
                "three virtual weights.",
            ),
            Choice(
                "None: head 2 feeds head 2 of the next layer.",
                "Heads with the same number have nothing to do with each other. Every "
                "head reads the one shared stream.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="twice_one_back",
        question=(
            "Head 0.0 always attends one position back, and so does head 1.0. The "
            "stream goes through 0.0 and then, as a value, through 1.0. Whose "
            "information arrives at position 7?"
        ),
        choices=(
            Choice(
                "That of position 6.",
                "1.0 fetches from position 6. But what 0.0 wrote there came from one "
                "position further back.",
            ),
            Choice(
                "That of position 5.",
                "The patterns multiply like matrices: one back times one back is two "
                "back. No head with such a pattern exists; it is a virtual head.",
            ),
            Choice(
                "An average of positions 5 and 6.",
                "Neither head averages. Each has one source, and the two steps follow "
                "one another.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="random_directions",
        question=(
            "Take 4,096 random directions in 256 dimensions. What is the typical size "
            "of the cosine between two of them?"
        ),
        choices=(
            Choice(
                "0: random directions are orthogonal.",
                "Nearly, but not exactly. At most 256 directions can be orthogonal "
                "here.",
            ),
            Choice(
                "About 0.06.",
                "It is one over the square root of the number of dimensions, 1/16. "
                "There is room for very many directions that are nearly orthogonal.",
            ),
            Choice(
                "About 0.5, because there are 16 times too many.",
                "How many there are does not matter for two random ones. Only the "
                "number of dimensions does.",
            ),
        ),
        right=1,
    ),
)
