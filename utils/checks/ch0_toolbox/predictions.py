"""Chapter 0: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="self_and_space_self",
        question=(
            "`self` and ` self` (with a space in front) are two tokens of our "
            "vocabulary. What does a model know about the two before it is trained?"
        ),
        choices=(
            Choice(
                "That they are the same word.",
                "A token is a number in a list. Nothing in the numbers says that two "
                "tokens are spelled alike.",
            ),
            Choice(
                "Nothing: they are two numbers as different as any others.",
                "Each has a row of its own in W_E, filled at random before training. "
                "Whatever they have in common the model has to learn from text.",
            ),
            Choice(
                "That ` self` is `self` after a space.",
                "The space is inside the token. The model sees one number, not two "
                "parts.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="know_nothing_loss",
        question=(
            "A model knows nothing and gives the same probability to each of 4,096 "
            "tokens. What is its loss per token, in nats?"
        ),
        choices=(
            Choice(
                "0.",
                "A loss of 0 means a probability of 1 for the right token. That is a "
                "model that knows everything.",
            ),
            Choice("About 0.7.", "ln 2 = 0.69 is the loss of guessing between two."),
            Choice(
                "About 8.3.",
                "Minus the log of 1/4096 is ln 4096 = 8.32. It is no upper bound: a "
                "model that is confidently wrong pays more than one that knows "
                "nothing.",
            ),
            Choice(
                "4,096.",
                "Guessing among 4,096 equally likely tokens is hard, but the loss "
                "counts in logarithms: ln 4096.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="first_row",
        question=(
            "Row 0 of an attention pattern belongs to the first position, the start "
            "token. What does it look like, for any head and any weights?"
        ),
        choices=(
            Choice(
                "A 1 in column 0 and zeros after it.",
                "The first position sees itself only, and its row sums to 1. So it "
                "has no choice.",
            ),
            Choice(
                "The same share for all keys.",
                "That would be so without the mask and with equal scores. Later keys "
                "are masked.",
            ),
            Choice(
                "It depends on the head's W_Q and W_K.",
                "The weights decide how attention is shared. With one key to see "
                "there is nothing to share.",
            ),
            Choice(
                "All zeros, the first position has nothing before it.",
                "A position sees itself too, and every row sums to 1.",
            ),
        ),
        right=0,
    ),
    Prediction(
        name="same_layer",
        question=(
            "Heads 0.0 and 0.1 are in the same layer. At some position, does head 0.1 "
            "see what head 0.0 has just written there?"
        ),
        choices=(
            Choice(
                "Yes, the heads write one after the other.",
                "Only the numbering suggests an order. All heads of a layer read the "
                "stream as it entered the layer.",
            ),
            Choice(
                "Yes, but only what was written at earlier positions.",
                "Positions are not written one after the other either. A layer reads "
                "the whole stream first, and then all its heads write.",
            ),
            Choice(
                "No, both read the stream as it entered the layer.",
                "So heads of a layer cannot work on each other's results, and what the "
                "layer adds is simply the sum of what they add.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="removing_a_head",
        question=(
            "You set one head's output to zero and measure the loss on held-out text. "
            "You do so for each head in turn. What will you see?"
        ),
        choices=(
            Choice(
                "The same rise for every head: they were trained together.",
                "Heads of one layer start alike and end up doing different work. How "
                "much the loss depends on each is something to measure.",
            ),
            Choice(
                "No rise: the other heads take over.",
                "Nothing takes over while the model runs. Heads of one layer do not "
                "even see each other's output.",
            ),
            Choice(
                "Rises of very different size.",
                "Training gave the heads different work. Some of it matters on many "
                "tokens, some on few.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="what_stays",
        question=(
            "You force a head's pattern. Which of the head's weight matrices still "
            "have any influence on the logits?"
        ),
        choices=(
            Choice(
                "All four.",
                "W_Q and W_K work through the pattern alone, and you have replaced it.",
            ),
            Choice(
                "W_V and W_O.",
                "They decide what is read at a source and written at the destination. "
                "W_Q and W_K only decide from where, and you did that for them.",
            ),
            Choice(
                "W_Q and W_K.",
                "These made the pattern that you threw away.",
            ),
            Choice(
                "None, the pattern is all there is.",
                "The pattern says from where to read. What is read and written is "
                "another question.",
            ),
        ),
        right=1,
    ),
)
