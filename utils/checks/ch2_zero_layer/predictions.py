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
    Prediction(
        name="zero_layer_sees_again",
        question=(
            "You want to know everything that a zero-layer model with 4,096 tokens can "
            "ever predict. How many texts do you have to try?"
        ),
        choices=(
            Choice(
                "Endlessly many, as texts can be of any length.",
                "Length does not matter: what stands before the last token changes "
                "nothing.",
            ),
            Choice(
                "4,096 times 4,096, all pairs of tokens.",
                "The first token of a pair changes nothing about what is predicted "
                "after the second.",
            ),
            Choice(
                "4,096, one for each last token.",
                "The prediction depends on the present token alone. So its whole "
                "knowledge is a table with 4,096 rows.",
            ),
        ),
        right=2,
        of="zero_layer_sees",
    ),
    Prediction(
        name="narrow_model_again",
        question=(
            "A zero-layer model with d_model 8 stops improving above the one-token "
            "floor. What would bring it closer?"
        ),
        choices=(
            Choice(
                "Ten times as much training text.",
                "The text was not the limit: a table of rank 8 stays one, whatever it "
                "is trained on.",
            ),
            Choice(
                "A larger d_model.",
                "The product W_E W_U goes through d_model numbers. With more of them "
                "the table can have a higher rank.",
            ),
            Choice(
                "A longer context.",
                "The model looks at one token only.",
            ),
        ),
        right=1,
        of="narrow_model",
    ),
    Prediction(
        name="after_import_again",
        question=(
            "In Python code ` self` is nearly always followed by a dot. In what form "
            "does a zero-layer model hold this?"
        ),
        choices=(
            Choice(
                "As a large number where row ` self` and column ` self` meet.",
                "That entry would say that ` self` follows itself.",
            ),
            Choice(
                "As a rule that it applies when it sees `def` before.",
                "It sees the present token and no other.",
            ),
            Choice(
                "As a large number where row ` self` and column `.` meet, next to the "
                "rest of that row.",
                "The row is the present token, the column the next one. What counts is "
                "how the entry stands to the others of its row.",
            ),
        ),
        right=2,
        of="after_import",
    ),
)
