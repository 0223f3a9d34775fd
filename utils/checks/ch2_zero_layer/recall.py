"""Chapter 2: what later chapters begin with."""

from utils.checks import Choice, Recall

__all__ = ["RECALL"]


RECALL = (
    Recall(
        name="blind_positions",
        question=(
            "A zero-layer model gives some prediction after `x = y`. You put a "
            "thousand other tokens in front of it. What happens to the prediction "
            "after `y`?"
        ),
        choices=(
            Choice(
                "Nothing.",
                "The model sees the present token only. Nothing carries information "
                "from one position to another.",
            ),
            Choice(
                "It changes a little.",
                "Attention would have to bring something from the earlier positions, "
                "and there is none.",
            ),
            Choice(
                "It improves, because there is more context.",
                "More context helps only a model that can look at it.",
            ),
        ),
        right=0,
        about=("zero_layer_sees",),
    ),
    Recall(
        name="shape_of_direct_path",
        question=(
            "W_E has shape [d_vocab, d_model] and W_U has shape [d_model, d_vocab]. "
            "What do the rows and columns of `W_E @ W_U` stand for?"
        ),
        choices=(
            Choice(
                "Rows: dimensions of the stream. Columns: tokens.",
                "The stream's dimensions are summed over. Only tokens are left.",
            ),
            Choice(
                "Rows: the present token. Columns: the next token.",
                "Row i holds the logits after token i. In the paper, which works with "
                "columns, it is the other way round.",
            ),
            Choice(
                "Rows: positions. Columns: tokens.",
                "Positions do not occur in the product at all.",
            ),
        ),
        right=1,
        about=("direct_path",),
    ),
    Recall(
        name="row_constants",
        question=(
            "In the table W_E W_U, the row of `if` is larger by 20 in every entry than "
            "it was. What changes in the model's predictions?"
        ),
        choices=(
            Choice(
                "After `if` every token becomes likelier.",
                "Probabilities sum to 1, so not all can grow.",
            ),
            Choice(
                "After `if` the model becomes surer.",
                "Being surer means larger differences within the row. They are as "
                "before.",
            ),
            Choice(
                "Nothing.",
                "A row is fixed only up to a constant, which the softmax takes out. So "
                "raw entries of two rows cannot be compared.",
            ),
        ),
        right=2,
        about=(
            "kl_to_bigram",
            "direct_path",
        ),
    ),
    Recall(
        name="floor_and_divergence",
        question=(
            "Of a made-up language the true bigram table is known. A model's loss on "
            "its text is 3.4 nats, the entropy of the true table's rows is 3.1, both "
            "weighted by how often each token comes. What is the weighted divergence "
            "of the model's table from the truth?"
        ),
        choices=(
            Choice(
                "3.4 nats",
                "That is the whole loss. Most of it is what nobody could know who sees "
                "one token.",
            ),
            Choice(
                "0.3 nats, up to the luck of the text",
                "Loss is entropy plus divergence. What is above the floor is what the "
                "model does not know.",
            ),
            Choice(
                "It cannot be told without the table.",
                "It can: the loss minus the floor is the divergence, with these "
                "weights.",
            ),
        ),
        right=1,
        about=("kl_to_bigram",),
    ),
    Recall(
        name="narrow_tables",
        question=(
            "A zero-layer model has d_model 16 and a vocabulary of 4,096. What bounds "
            "how well it can do, however long it is trained?"
        ),
        choices=(
            Choice(
                "Nothing, with enough training it reaches the bigram table.",
                "The product goes through 16 numbers, and training does not widen it.",
            ),
            Choice(
                "Its table has rank 16 at most.",
                "All of its rows are mixtures of 16. If the true table has much "
                "structure, that may still be good.",
            ),
            Choice(
                "It can tell only 16 tokens apart.",
                "It can tell apart as many as it likes; 16 directions hold many "
                "different rows.",
            ),
        ),
        right=1,
        about=("narrow_model",),
    ),
    Recall(
        name="counting_is_no_floor",
        question=(
            "A bigram table is counted on training text, and a pair that never came "
            "there gets probability 0. What happens to its loss on other text?"
        ),
        choices=(
            Choice(
                "It is the lowest that a bigram model can reach.",
                "It is the lowest on the training text. On other text it may be far "
                "off.",
            ),
            Choice(
                "It rises a little for each unseen pair.",
                "A probability of 0 for something that happens costs more than a "
                "little.",
            ),
            Choice(
                "It is infinite as soon as one unseen pair occurs.",
                "Minus the log of 0 has no bound. So counts are smoothed, by a "
                "pseudocount or better.",
            ),
        ),
        right=2,
        about=(
            "kneser_ney_loss",
            "bigram_log_probs",
        ),
    ),
    Recall(
        name="unembed_is_not_embed",
        question=(
            "Why is W_E W_U in a trained zero-layer model not close to the identity "
            "matrix?"
        ),
        choices=(
            Choice(
                "W_U was trained badly.",
                "If it were the identity each token would predict itself, and that "
                "would be a bad model of text.",
            ),
            Choice(
                "W_E says what a token is, W_U what makes it come next.",
                "The product holds which token follows which. A token rarely follows "
                "itself.",
            ),
            Choice(
                "The vocabulary is too large for a matrix of this rank to be exact.",
                "In a small vocabulary it would hold bigrams just as well.",
            ),
        ),
        right=1,
        about=(
            "after_import",
            "top_bigrams",
        ),
    ),
    Recall(
        name="pseudocount_pull",
        question=(
            "With a very large pseudocount, what does a counted bigram table look like?"
        ),
        choices=(
            Choice(
                "Every row is nearly uniform.",
                "When each pair is counted a million times before any text is read, "
                "the text hardly matters.",
            ),
            Choice(
                "Every row is nearly one-hot.",
                "That would be a table from very little text, with a very small "
                "pseudocount.",
            ),
            Choice(
                "It is the true table.",
                "The true table is reached with much text. A large pseudocount drowns "
                "the counts.",
            ),
        ),
        right=0,
        about=("bigram_log_probs",),
    ),
)
