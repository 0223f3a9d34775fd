"""Chapter 0: what later chapters begin with, and what it begins with itself.

Over 400 lines: it is one list of questions.
"""

from utils.checks import Choice, Recall

__all__ = ["BEFORE", "RECALL"]


BEFORE = (
    Recall(
        name="shape_of_a_product",
        question=(
            "A has shape [5, 3] and B has shape [3, 7]. What is the shape of `A @ B`?"
        ),
        choices=(
            Choice(
                "[3, 3]",
                "The inner sizes meet and disappear. What stays is A's number of rows "
                "and B's number of columns.",
            ),
            Choice(
                "[5, 7]",
                "A's rows and B's columns stay. The two inner 3s have to agree, and "
                "they are summed over.",
            ),
            Choice(
                "[7, 5]",
                "The outer sizes are right and the order is not: rows come from the "
                "left factor.",
            ),
            Choice(
                "It cannot be computed.",
                "It can, because A has as many columns as B has rows.",
            ),
        ),
        right=1,
    ),
    Recall(
        name="softmax_and_constants",
        question=(
            "The softmax of [1, 2, 3] is computed, and then that of [11, 12, 13]. How "
            "do the results compare?"
        ),
        choices=(
            Choice(
                "The second is larger.",
                "A softmax always sums to 1, so it cannot be larger in every entry.",
            ),
            Choice(
                "The second is sharper: nearly all weight on the last.",
                "It would be sharper if the numbers were ten times as large. Ten more "
                "for each leaves all differences as they are.",
            ),
            Choice(
                "They are the same.",
                "Ten more for each multiplies every exponential by the same factor, "
                "and dividing by their sum takes it out again.",
            ),
        ),
        right=2,
    ),
    Recall(
        name="log_of_small",
        question=("An event has probability 1/8. What is minus its natural logarithm?"),
        choices=(
            Choice(
                "-2.08, a negative number.",
                "The logarithm of 1/8 is -2.08. Minus that is positive.",
            ),
            Choice(
                "2.08, or 3 times ln 2.",
                "Minus ln(1/8) is ln 8, and 8 is 2 times 2 times 2.",
            ),
            Choice(
                "8.",
                "That is one over the probability. The logarithm of 8 is 2.08.",
            ),
            Choice(
                "3.",
                "That would be the logarithm to base 2. The natural one is 3 times "
                "0.69.",
            ),
        ),
        right=1,
    ),
    Recall(
        name="orthogonal_vectors",
        question=("Two vectors have the inner product 0. What does that say?"),
        choices=(
            Choice(
                "One of them is zero.",
                "It is one way to get 0. Two long vectors at a right angle also have "
                "it.",
            ),
            Choice(
                "They point in opposite directions, or nearly so.",
                "Then the inner product would be negative.",
            ),
            Choice(
                "They are at a right angle, or one is zero.",
                "The inner product is the product of the lengths and the cosine of the "
                "angle, and the cosine of a right angle is 0.",
            ),
        ),
        right=2,
    ),
    Recall(
        name="one_hot_row",
        question=(
            "v is a row of zeros with a single 1 at place 4, and W is a matrix. What "
            "is `v @ W`?"
        ),
        choices=(
            Choice(
                "Row 4 of W.",
                "Each row of W is multiplied by its entry of v, and the sum keeps the "
                "one row that was multiplied by 1.",
            ),
            Choice(
                "Column 4 of W.",
                "That would be W times v, with v as a column on the right.",
            ),
            Choice(
                "The single entry of W at row 4 and column 4.",
                "The product has as many entries as W has columns.",
            ),
        ),
        right=0,
    ),
    Recall(
        name="rank_through_a_bottleneck",
        question=(
            "A has shape [100, 4] and B has shape [4, 100]. How many independent rows "
            "can `A @ B` have?"
        ),
        choices=(
            Choice(
                "100, as it has 100 rows.",
                "Every row is a mixture of the 4 rows of B. Mixtures of 4 rows have at "
                "most 4 independent directions.",
            ),
            Choice(
                "At most 4.",
                "Every row of the product is a mixture of the 4 rows of B.",
            ),
            Choice(
                "At most 16, which is 4 times 4.",
                "Mixing 4 rows makes no new directions.",
            ),
        ),
        right=1,
    ),
    Recall(
        name="axis_of_a_sum",
        question=("x has shape [2, 10, 64]. What is the shape of `x.sum(dim=1)`?"),
        choices=(
            Choice(
                "[10, 64]",
                "That is the sum over the first axis, which has the number 0.",
            ),
            Choice(
                "[2, 10]",
                "That is the sum over the last axis, `dim=-1`.",
            ),
            Choice(
                "[2, 64]",
                "Axes are counted from 0, so `dim=1` is the axis of size 10, and it "
                "disappears.",
            ),
            Choice(
                "[64]",
                "Only one axis is summed over, so two are left.",
            ),
        ),
        right=2,
    ),
    Recall(
        name="where_gradients_go",
        question=(
            "You only want to run a trained network and look at its numbers. What are "
            "gradients needed for?"
        ),
        choices=(
            Choice(
                "For nothing: they serve training.",
                "A gradient says how a loss would change with each weight. Whoever "
                "changes no weight needs none, and saves memory and time.",
            ),
            Choice(
                "To compute the outputs.",
                "Outputs are computed forwards, from the inputs. Gradients are "
                "computed backwards, to change weights.",
            ),
            Choice(
                "To keep the weights from changing.",
                "Weights change only when an optimiser changes them.",
            ),
        ),
        right=0,
    ),
)

RECALL = (
    Recall(
        name="who_predicts_what",
        question=(
            "A model reads a row of tokens. Which token is predicted by the logits at "
            "position 7?"
        ),
        choices=(
            Choice(
                "The token at position 7.",
                "It has just been read. Nothing is left to predict about it.",
            ),
            Choice(
                "The token at position 8.",
                "Logits at a position are a guess at what comes next. Comparing them "
                "with the token at the same position is the commonest bug here.",
            ),
            Choice(
                "The token at position 6.",
                "That token lies in the past and can be looked up.",
            ),
            Choice(
                "All tokens of the row.",
                "Each position makes a guess of its own, about the one token after it.",
            ),
        ),
        right=1,
        about=("per_token_loss",),
    ),
    Recall(
        name="loss_of_a_coin",
        question=(
            "A model is sure that one of two tokens comes next, and it gives each of "
            "them one half. What is its loss there, in nats?"
        ),
        choices=(
            Choice(
                "0.5",
                "That is the probability. The loss is minus its logarithm.",
            ),
            Choice(
                "2",
                "Two tokens are left, and their number enters as a logarithm.",
            ),
            Choice(
                "ln 2, about 0.69",
                "Minus the log of one half. Guessing evenly among n tokens costs ln n.",
            ),
            Choice(
                "0, as one of the two does come.",
                "A loss of 0 needs a probability of 1 for the token that came.",
            ),
        ),
        right=2,
        about=(
            "know_nothing_loss",
            "per_token_loss",
        ),
    ),
    Recall(
        name="worse_than_nothing",
        question=(
            "Can a trained model have a higher loss on a text than a model that gives "
            "all tokens the same probability?"
        ),
        choices=(
            Choice(
                "No, training can only improve it.",
                "It improves the loss on texts like those it was trained on.",
            ),
            Choice(
                "Yes, when it is sure of the wrong tokens.",
                "A small probability for the token that came costs much, and there is "
                "no upper limit. Shuffled code, or noise, does this to a model of "
                "code.",
            ),
            Choice(
                "No, the loss cannot be above ln of the vocabulary.",
                "That is the loss of knowing nothing. A confident error costs more.",
            ),
            Choice(
                "Only when the text contains unknown characters.",
                "Every text is cut into known tokens. A text of common tokens in an "
                "odd order is enough.",
            ),
        ),
        right=1,
        about=("know_nothing_loss",),
    ),
    Recall(
        name="space_in_a_token",
        question=(
            "The tokens `x` and ` x` (with a space in front) are two entries of the "
            "vocabulary. How does an untrained model see that they are alike?"
        ),
        choices=(
            Choice(
                "Not at all: they are two numbers.",
                "The model gets numbers and no spelling. What the two have in common "
                "it has to learn from where they occur.",
            ),
            Choice(
                "By their spelling, which is part of a token.",
                "The spelling is in the tokenizer. The model gets the number only.",
            ),
            Choice(
                "By their numbers, which are neighbours.",
                "The order of the list says how often pieces were merged when the "
                "vocabulary was made, not what they mean.",
            ),
        ),
        right=0,
        about=("self_and_space_self",),
    ),
    Recall(
        name="rows_of_a_pattern",
        question=(
            "A row of an attention pattern has the entries 0.2, 0.5 and 0.3, followed "
            "by zeros. What does the 0.5 say?"
        ),
        choices=(
            Choice(
                "The second position attends to this one with half of its attention.",
                "Rows are queries, the positions that look. The row's own position is "
                "the one that looks.",
            ),
            Choice(
                "This row's position gives half of its attention to position 1.",
                "A row is one query, and its entries share out its attention over the "
                "keys. They sum to 1.",
            ),
            Choice(
                "Half of all positions look at position 1.",
                "That would be read down a column. A column need not sum to anything.",
            ),
        ),
        right=1,
        about=(
            "attention_pattern",
            "first_row",
        ),
    ),
    Recall(
        name="scaled_scores",
        question=(
            "Somebody computes queries times keys and a causal softmax, and forgets to "
            "divide by the square root of d_head. What is wrong with the pattern?"
        ),
        choices=(
            Choice(
                "Nothing, a softmax ignores a common factor.",
                "It ignores a constant that is added to all. A factor makes all "
                "differences larger.",
            ),
            Choice(
                "It is flatter than it should be.",
                "The scores are too large, and larger differences make a softmax "
                "sharper.",
            ),
            Choice(
                "It is sharper than it should be.",
                "Without the division every difference of scores is too large, so the "
                "largest takes too much.",
            ),
        ),
        right=2,
        about=("attention_pattern",),
    ),
    Recall(
        name="within_one_layer",
        question=(
            "You take head 0.2 away. Which other parts of a two-layer model can then "
            "compute something else at once?"
        ),
        choices=(
            Choice(
                "All heads of both layers.",
                "Heads of one layer read the same stream, from before any of them has "
                "written.",
            ),
            Choice(
                "The heads of layer 1, and W_U at the end.",
                "Heads of layer 0 do not see each other. Whatever comes later reads a "
                "stream without 0.2's part.",
            ),
            Choice(
                "Only the heads of layer 0.",
                "They are the ones that cannot notice: they read before 0.2 writes.",
            ),
            Choice(
                "Only head 1.2 of the next layer, which has the same number.",
                "Numbers mean nothing. Every head of layer 1 reads the one stream.",
            ),
        ),
        right=1,
        about=(
            "same_layer",
            "head_outputs",
        ),
    ),
    Recall(
        name="what_patterns_leave",
        question=(
            "A head is told by hand to attend to the position before, always. You then "
            "exchange its W_Q for random numbers. What happens to its output?"
        ),
        choices=(
            Choice(
                "Nothing.",
                "W_Q and W_K do their work through the pattern alone, and the pattern "
                "was set by hand. W_V and W_O decide what is read and written.",
            ),
            Choice(
                "It becomes random, too.",
                "W_Q only makes scores, and these were thrown away.",
            ),
            Choice(
                "It goes to zero.",
                "The head still reads values and writes, at the places it was told.",
            ),
        ),
        right=0,
        about=(
            "what_stays",
            "replace_pattern",
        ),
    ),
    Recall(
        name="zero_or_mean",
        question=(
            "A head's output is replaced by zero, and then by its mean over many "
            "texts. The loss rises by 0.5 nats in the first case and by 0.1 in the "
            "second. What is likely?"
        ),
        choices=(
            Choice(
                "The head does nothing that depends on the text.",
                "Then the mean would cost nothing. A tenth of a nat is left.",
            ),
            Choice(
                "The first measurement was wrong, as both of them must agree.",
                "They ask two questions. Zero also takes away whatever the head always "
                "writes.",
            ),
            Choice(
                "Much of the 0.5 is a constant that others rely on.",
                "The mean keeps what the head always writes. What is left, 0.1, is "
                "what depends on the text.",
            ),
        ),
        right=2,
        about=(
            "ablate_head",
            "removing_a_head",
        ),
    ),
)
