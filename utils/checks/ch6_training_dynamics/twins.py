"""Chapter 6: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
    Prediction(
        name="text_alone_again",
        question=(
            "A friend trains a model on novels and tests it on repeated noise. Its "
            'loss there is 11 nats, with chance at 9. "So it has no induction '
            'heads", says the friend. What do you answer?'
        ),
        choices=(
            Choice(
                "Right: a model with such heads would be below chance.",
                "It may pay more for being sure of words than it wins by copying.",
            ),
            Choice(
                "Compare the second copy with the first, and look at where its heads "
                "attend.",
                "Being sure of text costs the same on both copies. Only looking back "
                "makes the second one cheaper.",
            ),
            Choice(
                "Wrong: a loss above chance proves that it has such heads.",
                "It proves that the model is sure of wrong things. That is all.",
            ),
        ),
        right=1,
        of="text_alone",
    ),
    Prediction(
        name="fixed_lag_again",
        question=(
            "In a data set every question is followed by its answer after exactly 12 "
            "tokens. A model finds every answer. How would you test whether it "
            "matches, or has learned a distance?"
        ),
        choices=(
            Choice(
                "Test it on more rows of this data set.",
                "On all of them the distance is 12, so both kinds of model pass.",
            ),
            Choice(
                "Move the answers to other distances.",
                "A model that looks 12 back will fail, one that matches will not.",
            ),
            Choice(
                "Train it again with another seed.",
                "The data ask for no more than a distance, whatever the seed.",
            ),
        ),
        right=1,
        of="fixed_lag",
    ),
    Prediction(
        name="whose_score_again",
        question=(
            "A model without any attention scores -0.06 for in-context learning, on a "
            "hundred windows. What do you conclude?"
        ),
        choices=(
            Choice(
                "It has found a way to use its context.",
                "Nothing in it leads from one position to another.",
            ),
            Choice(
                "The score has a fault.",
                "It does what it should: it compares late with early tokens, and the "
                "late ones here happen to be easier.",
            ),
            Choice(
                "Late tokens of these windows happen to be easier by about that much.",
                "So a model with attention has this luck in its score as well, and it "
                "has to be taken off.",
            ),
        ),
        right=2,
        of="whose_score",
    ),
    Prediction(
        name="one_layer_repeats_again",
        question=(
            "One layer, trained on text and on repeats, ends above chance on repeats. "
            "Compare copy with copy: are the later copies cheaper for it than the "
            "first one?"
        ),
        choices=(
            Choice(
                ("No: without induction no copy is easier than another."),
                (
                    "It cannot find the place, but it can see which tokens are "
                    "around, and raises them a little."
                ),
            ),
            Choice(
                ("Yes, by less than a nat."),
                (
                    "It knows which tokens are around and not which comes next, and "
                    "it raises them too little to gain much."
                ),
            ),
            Choice(
                ("Yes, by several nats."),
                (
                    "That takes a head which finds the place. The two-layer rows show "
                    "what it brings."
                ),
            ),
        ),
        right=1,
        of="one_layer_repeats",
    ),
    Prediction(
        name="coincide_again",
        question=(
            "Now with repeats in the data, in the five runs of the small recipe. "
            "Which curve has its quarter of largest change first, in-context learning "
            "on text or prefix matching on random tokens?"
        ),
        choices=(
            Choice(
                ("Prefix matching: the data call for it."),
                (
                    "They do, and still the heads serve text before they work well on "
                    "noise."
                ),
            ),
            Choice(
                ("In-context learning, in every run."),
                (
                    "As on text alone, what helps with text comes first. That repeats "
                    "are in the data does not turn the order round."
                ),
            ),
            Choice(
                ("Now one, now the other."),
                ("Then the order would be chance. Five runs of five agree."),
            ),
        ),
        right=1,
        of="coincide",
    ),
    Prediction(
        name="contradicted_again",
        question=(
            "One layer with plain keys and one layer with smeared keys, which does "
            "induction: same text, same steps. Compare the two at the end, on "
            "contradicted tokens. Who is better?"
        ),
        choices=(
            Choice(
                ("The smeared one: induction helps everywhere."),
                (
                    "It helps most where the last continuation comes again. Here it "
                    "does not come again."
                ),
            ),
            Choice(
                ("They are equal: on average nobody pays a price."),
                (
                    "An average over all of training hid it, since everything else "
                    "was being learned as well. Two models at the same step differ in "
                    "the keys alone."
                ),
            ),
            Choice(
                ("The plain one, by some hundredths of a nat."),
                (
                    "Here the price shows: whoever bets on the last continuation "
                    "loses a little where it is wrong, and wins over a nat where it "
                    "is right."
                ),
            ),
        ),
        right=2,
        of="contradicted",
    ),
    Prediction(
        name="smeared_again",
        question=(
            "Two layers with smeared keys: every key knows its neighbour already. "
            "What becomes of layer 0's best previous-token score, compared with two "
            "plain layers?"
        ),
        choices=(
            Choice(
                ("It is as high: induction needs a previous-token head."),
                (
                    "It needs keys that know their neighbour. Here they do so without "
                    "any head."
                ),
            ),
            Choice(
                ("It is higher: with smeared keys it is easier to look one back."),
                ("It may be easier, and there is less to be gained by it."),
            ),
            Choice(
                ("It is lower, in every seed."),
                (
                    "The head's work is done by the architecture, so training has "
                    "less use for the head."
                ),
            ),
        ),
        right=2,
        of="smeared",
    ),
    Prediction(
        name="three_layers_again",
        question=(
            "With smeared keys a single layer can do induction. In a model of two "
            "such layers, where will the best matching head be?"
        ),
        choices=(
            Choice(
                ("In layer 0, the first that can do it."),
                (
                    "It could be there, and in one of the four runs there is a good "
                    "one as well. The best one is in the last layer each time."
                ),
            ),
            Choice(
                ("In layer 1, the last."),
                (
                    "In all four runs. As with three layers, a head in the last layer "
                    "reads the most and speaks to the logits directly."
                ),
            ),
            Choice(
                ("Now in one, now in the other."),
                ("All four runs agree on one of the two."),
            ),
        ),
        right=1,
        of="three_layers",
    ),
)
