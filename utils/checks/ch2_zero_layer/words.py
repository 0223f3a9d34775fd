"""Chapter 2: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_zero_layers",
        question=(
            "What can a model without attention know, and what can it never know?"
        ),
        answer=(
            "It knows the present token. So it can know how likely each token is after "
            "that one. What stood before can never change its guess, because nothing "
            "carries it from one position to another."
        ),
    ),
    Words(
        name="words_bigram_table",
        question=(
            "What is a bigram table, and why does one add a pseudocount when it is "
            "counted?"
        ),
        answer=(
            "One row for each present token, with the probability of each next token. "
            "A pair that did not come in the counted text is not impossible. Without a "
            "pseudocount it would get probability 0, and its first appearance would "
            "cost without bound."
        ),
    ),
    Words(
        name="words_table_inside",
        question=(
            "In what sense is W_E W_U a table of bigrams, and what in it has no "
            "meaning?"
        ),
        answer=(
            "A one-hot vector picks a row of the product, and this row is the logits "
            "after that token. A softmax makes probabilities of it. A constant added "
            "to a whole row changes nothing, so raw entries of different rows cannot "
            "be compared."
        ),
    ),
    Words(
        name="words_floor",
        question=(
            "What is the one-token floor, and what do a loss above it and the rank of "
            "the table have to do with each other?"
        ),
        answer=(
            "It is the lowest loss for anybody who sees one token: the entropy of the "
            "true rows. What a model pays above it is its weighted divergence from the "
            "true table. A table of too low a rank cannot come close, however long it "
            "is trained."
        ),
    ),
    Words(
        name="words_real_text",
        question=(
            "Why is counting on the training text no floor for real text, and what "
            "does Kneser-Ney do about it?"
        ),
        answer=(
            "Counts give next to nothing to pairs that the other text has and the "
            "training text lacks. Kneser-Ney takes a little from every pair that was "
            "seen, and gives it to the others by how many different neighbours a token "
            "has. It is a good reference, and something may still beat it."
        ),
    ),
    Words(
        name="words_read_weights",
        question=(
            "You read from the weights what follows ` import`. How do you find out "
            "whether it is true?"
        ),
        answer=(
            "Count what really follows ` import` in text that the model has not seen, "
            "and say how often it came. Compare with the training text, and with how "
            "often each word comes after any token."
        ),
    ),
)
