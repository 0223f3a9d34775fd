"""Chapter 2: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="zero_layer_sees",
        question=(
            "A zero-layer model reads `def forward(self, x` and predicts the next "
            "token. Which of the tokens before it can change the prediction?"
        ),
        choices=(
            Choice(
                "All of them.",
                "Nothing in this model moves information between positions. Attention "
                "would do that, and there is none.",
            ),
            Choice(
                "Only the last one, ` x`.",
                "Each position is computed from its own token alone.",
            ),
            Choice(
                "The last two.",
                "That would be a trigram model. It needs a way to look one position "
                "back, and without attention there is none.",
            ),
            Choice(
                "None, it always predicts the commonest token.",
                "It would, if it did not read its own position's token. It does: "
                "W_E turns that token into a vector.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="narrow_model",
        question=(
            "The bigram table of our planted language has 128 rows. What will a "
            "zero-layer model with d_model = 4 learn, compared with d_model = 64?"
        ),
        choices=(
            Choice(
                "The same table, only more slowly.",
                "W_E W_U is a product through d_model numbers, so its rank is at most "
                "d_model. Training longer does not raise it.",
            ),
            Choice(
                "A table of rank at most 4: all its rows are mixtures of four. So a "
                "blurred version, with a higher loss.",
                "A product through four numbers has rank at most 4. The loss stays "
                "above the floor however long you train.",
            ),
            Choice(
                "Nothing, because 4 is less than 128.",
                "Rank 4 is far from nothing: it can tell apart a few groups of tokens, "
                "and that already lowers the loss.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="after_import",
        question=(
            "The shipped zero-layer model was trained on Python source. By its weights "
            "alone, which token is likeliest after ` import`?"
        ),
        choices=(
            Choice(
                "` import` itself.",
                "That would need large numbers on the diagonal of W_E W_U. A word "
                "rarely follows itself in Python.",
            ),
            Choice(
                "The start of a module's or a class's name.",
                "After ` import` a name follows. How likely each is follows roughly, "
                "not in every place, how often it was imported in the training text.",
            ),
            Choice(
                "It depends on whether ` from` came before.",
                "It would in real code, but this model cannot see what came before.",
            ),
        ),
        right=1,
    ),
)
