"""Chapter 1: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_stream_sum",
        question=(
            "Why can one say that the stream does no computing of its own, and what is "
            "it good for?"
        ),
        answer=(
            "It is a sum: the embedding and one vector from each head. All computing "
            "is done by heads that read it and add to it. So it is a channel through "
            "which parts that never meet can pass something on."
        ),
    ),
    Words(
        name="words_logit_sum",
        question=(
            "What is direct logit attribution, why is it centred, and what does it "
            "leave out?"
        ),
        answer=(
            "Unembedding is linear, so each part of the stream has a share in every "
            "logit, and the shares add up. Only differences of logits matter, so a "
            "share is measured from the mean over the vocabulary. It counts what a "
            "part writes straight to the logits, and not what later heads make of it."
        ),
    ),
    Words(
        name="words_ov",
        question=(
            "What does W_OV say about a head, what does it not say, and why do W_V and "
            "W_O alone mean nothing?"
        ),
        answer=(
            "It says what is written for each vector of the stream that the head "
            "attends to. It does not say where the head attends. Only the product of "
            "the two reaches the stream, and an invertible matrix can be slipped in "
            "between them without a change."
        ),
    ),
    Words(
        name="words_qk",
        question=(
            "What does W_QK do, and which two things are easily forgotten when scores "
            "are computed from it?"
        ),
        answer=(
            "It takes a vector from the place that asks and one from the place that is "
            "asked, and gives a score. The position vectors have to be added on both "
            "sides, and the score is divided by the square root of d_head."
        ),
    ),
    Words(
        name="words_basis",
        question=(
            "Why has the stream no privileged basis here, while tokens have one? What "
            "would change that?"
        ),
        answer=(
            "Every part reads and writes through a matrix, so all of them can be "
            "turned along with the stream and nobody notices. Each token is an entry "
            "of its own, with a meaning of its own. A LayerNorm, or a nonlinearity on "
            "single entries, would mark some directions."
        ),
    ),
    Words(
        name="words_tensor",
        question=(
            "In A ⊗ W, what does each side act on? Say what Id ⊗ W and A ⊗ Id do."
        ),
        answer=(
            "The left side acts across positions and the right side at each position. "
            "Id ⊗ W sends every position's vector through W and mixes no positions. A "
            "⊗ Id mixes positions and treats each entry of the vectors alike."
        ),
    ),
    Words(
        name="words_bends",
        question=(
            "Which part of the model is not linear, and what is gained by holding it "
            "fixed?"
        ),
        answer=(
            "The pattern: a product of two streams, and a softmax. Held fixed, the "
            "whole model is a matrix, so it can be multiplied out into paths. What is "
            "lost is how the pattern came about."
        ),
    ),
    Words(
        name="words_virtual",
        question=(
            "How can two heads in different layers be connected without sharing any "
            "weights?"
        ),
        answer=(
            "The earlier one writes into directions of the stream and the later one "
            "reads directions of the stream. The product of the two matrices says how "
            "much of what is written is read, for queries, keys and values each. These "
            "products are virtual weights."
        ),
    ),
    Words(
        name="words_channel",
        question=(
            "When is it right to say that features are in superposition, and why is it "
            "not enough that there are more directions than dimensions?"
        ),
        answer=(
            "When several features share a vector at a time and a reader can still "
            "tell which of them are there, because they are rare and the reader cuts "
            "off small disturbances. If only one is ever present, the largest "
            "projection finds it, however much the directions overlap."
        ),
    ),
)
