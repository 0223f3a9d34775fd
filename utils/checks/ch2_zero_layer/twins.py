"""Chapter 2: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
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
