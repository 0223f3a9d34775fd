"""Chapter 0: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_next_token",
        question=(
            "What goes into a language model, what comes out, and how does one get a "
            "text from it?"
        ),
        answer=(
            "A row of token numbers goes in. For each position a logit comes out for "
            "every token of the vocabulary, and a softmax makes them probabilities for "
            "the token that comes next. To get a text, take a likely token at the last "
            "position, put it at the end, and run the model again."
        ),
    ),
    Words(
        name="words_tokens",
        question=(
            "Why are `self` and ` self` two tokens, and what does the model know of "
            "their spelling?"
        ),
        answer=(
            "The vocabulary was cut from text by what is common, and a space goes with "
            "the word behind it. The model gets a number for each piece and nothing "
            "about its letters. That the two mean the same it can only learn from "
            "where they stand."
        ),
    ),
    Words(
        name="words_loss",
        question=(
            "What does a loss of 2 nats at one token say, and why can a trained model "
            "do worse than one that knows nothing?"
        ),
        answer=(
            "The token that came had been given a probability of e to the power -2, "
            "about 0.14. A model that knows nothing spreads its guess and pays ln of "
            "the vocabulary. A trained one is sure of what it has learned, and being "
            "sure of the wrong token costs more than a shrug."
        ),
    ),
    Words(
        name="words_inside",
        question=(
            "What is the residual stream of this model, who writes to it and who reads "
            "it?"
        ),
        answer=(
            "One vector for each position. It starts as the token's embedding. Every "
            "head reads it and adds a vector to it; nothing is overwritten. At the end "
            "W_U reads it and makes logits."
        ),
    ),
    Words(
        name="words_pattern",
        question=("How does a head's attention pattern come about, step by step?"),
        answer=(
            "Position vectors are added to the stream, for this purpose only. W_Q "
            "makes a query of each position, W_K a key. A score is their inner product "
            "over the square root of d_head. Later keys are hidden. A softmax over the "
            "keys makes shares that sum to 1 in each row."
        ),
    ),
    Words(
        name="words_head_writes",
        question=(
            "A head has a pattern. How does it get from there to what it adds to the "
            "stream, and why can heads be studied one at a time?"
        ),
        answer=(
            "W_V makes a short value of each source, the pattern mixes the values for "
            "each destination, and W_O makes a vector of the stream of the mixture. "
            "What a layer adds is the sum over its heads, and each of them reads the "
            "stream as it entered the layer. So no head depends on another of its "
            "layer."
        ),
    ),
    Words(
        name="words_hooks",
        question=(
            "You switch a head off by zero and by its mean. What does each of the two "
            "tell you, and what does neither?"
        ),
        answer=(
            "Zero takes away everything the head writes, also what it always writes. "
            "The mean leaves that in place, so what it costs is due to what depends on "
            "the text. Neither says how the head's work reaches the output: by itself, "
            "or through later heads that read it."
        ),
    ),
    Words(
        name="words_where_to_look",
        question=(
            "What do you learn by telling a head where to look, and what has to be "
            "kept apart when the loss rises?"
        ),
        answer=(
            "With a given pattern only the second half is left, what is read and "
            "written, and it is linear. If the loss rises the place may be wrong, or "
            "the head may simply write more than usual. A pattern made of the head's "
            "own average separates position from token."
        ),
    ),
)
