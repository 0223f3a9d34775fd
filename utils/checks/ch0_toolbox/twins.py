"""Chapter 0: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
    Prediction(
        name="same_layer_again",
        question=(
            "One cell takes away head 0.3 and another one takes away head 0.6, in a "
            "layer of eight. You do both at once. The layer adds A without 0.3, B "
            "without 0.6 and W when whole. What does it add without both?"
        ),
        choices=(
            Choice(
                "A + B - W, exactly.",
                "Each head adds its own part and sees none of the others. So what both "
                "take away together is the sum of what each takes away.",
            ),
            Choice(
                "Something that has to be measured: with both gone the other heads "
                "behave differently.",
                "They cannot. All heads of a layer read the stream as it entered the "
                "layer, so none of them knows who is missing.",
            ),
            Choice(
                "Half of A + B.",
                "That would be a mean. Taking away two parts takes away their sum.",
            ),
        ),
        right=0,
        of="same_layer",
    ),
    Prediction(
        name="first_row_again",
        question=(
            'You force a head to attend with the pattern "everything on the position '
            'before". What has to stand in row 0?'
        ),
        choices=(
            Choice(
                "Nothing but zeros, as nothing stands before it.",
                "A row of a pattern sums to 1. A row of zeros would be no pattern.",
            ),
            Choice(
                "The same share for every column.",
                "Later keys are hidden from position 0.",
            ),
            Choice(
                "A 1 in column 0: there is nothing else to look at.",
                "The first position sees itself only, whatever you would like it to "
                "do.",
            ),
        ),
        right=2,
        of="first_row",
    ),
    Prediction(
        name="know_nothing_loss_again",
        question=(
            "A model gives the right token a probability of 1/4096 at each position of "
            "a text. It is far from spreading its guess evenly: it is very sure of "
            "other tokens. What is its loss?"
        ),
        choices=(
            Choice(
                "Higher than 8.3 nats, as it is surely wrong.",
                "The loss looks at the probability of the token that came, and at "
                "nothing else. How the rest is shared out does not matter.",
            ),
            Choice(
                "8.3 nats, as for knowing nothing.",
                "Minus the log of 1/4096 is ln 4096 = 8.32, wherever the rest of the "
                "probability went.",
            ),
            Choice(
                "Lower than 8.3 nats, as it has learned something.",
                "Nothing of that helped with the token that came.",
            ),
        ),
        right=1,
        of="know_nothing_loss",
    ),
    Prediction(
        name="self_and_space_self_again",
        question=(
            "Hundreds of words stand in the vocabulary twice, with a space in front "
            "and without. A model reads one of the two and nothing else, then the "
            "other one. How alike are its two lists of logits, compared with those of "
            "two different words?"
        ),
        choices=(
            Choice(
                ("More alike, before training as after it: it is the same word."),
                (
                    "Before training they are no more alike than those of other "
                    "words. Nothing in the two numbers says that they are spelled "
                    "alike."
                ),
            ),
            Choice(
                ("Before training no more alike, and after it more."),
                (
                    "Text uses the two alike, and text is all that training sees. So "
                    "what they have in common was learned, and the spelling was not "
                    "needed for it."
                ),
            ),
            Choice(
                ("No more alike, before training as after it: they are two numbers."),
                (
                    "They begin as two numbers like any others. But both stand in "
                    "much the same places of the text, and training sees that."
                ),
            ),
        ),
        right=1,
        of="self_and_space_self",
    ),
    Prediction(
        name="removing_a_head_again",
        question=(
            "Take the head whose removal costs most in the mean. Look at single "
            "tokens now: on how many of them is the loss **lower** without this head?"
        ),
        choices=(
            Choice(
                ("On none: what helps in the mean helps everywhere."),
                (
                    "A mean says nothing of the single tokens. The head also speaks "
                    "where it should have kept quiet."
                ),
            ),
            Choice(
                ("On a few in a hundred."),
                (
                    "They are far more. A head makes some tokens likelier and so "
                    "others less likely, and often the wrong one of the two comes."
                ),
            ),
            Choice(
                ("On about four in ten."),
                (
                    "The head wins more on the other tokens than it loses on these. A "
                    "rise of the mean is a sum of gains and losses, and most of it "
                    "cancels."
                ),
            ),
        ),
        right=2,
        of="removing_a_head",
    ),
    Prediction(
        name="what_stays_again",
        question=(
            "You copy W_Q and W_K of head 0.5 into head 0.3, and then you force 0.3 "
            "to attend as it did before. What becomes of the logits?"
        ),
        choices=(
            Choice(
                ("They change: keys also carry what is read at a source."),
                (
                    "What is read at a source goes through W_V. Keys only help to "
                    "choose the source, and you chose it."
                ),
            ),
            Choice(
                ("They change a little, as the softmax is another one."),
                ("There is no softmax left in this head: its pattern is given."),
            ),
            Choice(
                ("They stay exactly as they were."),
                (
                    "W_Q and W_K act through the pattern and through nothing else. "
                    "W_V and W_O are still those of 0.3."
                ),
            ),
        ),
        right=2,
        of="what_stays",
    ),
)
