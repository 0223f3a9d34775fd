"""Chapter 4: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="number_of_paths",
        question=(
            "A model has two layers of 8 heads. A path leads from a token to the "
            "logits and passes through at most one head of each layer. How many paths "
            "are there, and how many of them have weights of their own?"
        ),
        choices=(
            Choice(
                "17 paths, and all have weights of their own.",
                "That counts the direct path and 16 heads. A head of layer 1 can also "
                "move what a head of layer 0 wrote, and that is a path too.",
            ),
            Choice(
                "81 paths; the 64 through two heads have no weights of their own.",
                "1 + 16 + 64. A path through two heads uses the weights of both, which "
                "are there already.",
            ),
            Choice(
                "81 paths, each with weights of its own.",
                "The number is right. But the model has 16 heads' weights and no more; "
                "the 64 pairs use them again.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="two_steps_back",
        question=(
            "Head 0.1 attends to the previous position, and so does head 1.0. Where "
            "does the virtual head made of both look?"
        ),
        choices=(
            Choice(
                "At the previous position.",
                "Each of the two steps goes one back, and the second starts where the "
                "first ended.",
            ),
            Choice(
                "Half at the previous position, half at the one before.",
                "That would be two heads side by side. One after the other, both steps "
                "are taken.",
            ),
            Choice(
                "Two positions back.",
                "Head 1.0 fetches from p - 1 what head 0.1 had fetched from p - 2.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="composition_kind",
        question=(
            "Head 0.1 writes at each position which token came before it. Head 1.0 "
            "looks for a position whose previous token equals the current token. On "
            "which side does head 1.0 read what head 0.1 wrote?"
        ),
        choices=(
            Choice(
                "In its query.",
                "The query says what is looked for, here the current token, and that "
                "is the embedding at the place itself.",
            ),
            Choice(
                "In its key.",
                "The key says what a position has to offer: I come after that token. "
                "This is K-composition, and the next chapter is about it.",
            ),
            Choice(
                "In its value.",
                "The value is what is moved once the place is found. Finding it is a "
                "matter of query and key.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="score_by_chance",
        question=(
            "Take two heads with random weights in a stream of d_model = 256. What is "
            "their composition score, roughly?"
        ),
        choices=(
            Choice(
                "0, because they know nothing of each other.",
                "Random directions in a space of 256 dimensions are nearly orthogonal, "
                "but not quite.",
            ),
            Choice(
                "1/256.",
                "That is the share of a random vector's squared length that lies in a "
                "given direction. The score is a ratio of lengths, so take the root.",
            ),
            Choice(
                "1/16.",
                "The root of 1/256. This is the floor that every score has to be "
                "compared with.",
            ),
            Choice(
                "1/2.",
                "Half would mean that one head reads most of what the other one "
                "writes.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="round_the_corner",
        question=(
            "In a product of four matrices, the last factor is moved to the front. "
            "Which of these can change?"
        ),
        choices=(
            Choice(
                "The trace.",
                "tr(ABCD) = tr(DABC): the trace does not notice.",
            ),
            Choice(
                "The non-zero eigenvalues.",
                "If ABCD v = c v, then DABC (D v) = c (D v): they stay.",
            ),
            Choice(
                "The Frobenius norm.",
                "It can. The norm is the root of the trace of M M^T, and that is "
                "another product, with each factor twice.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="worth_of_pairs",
        question=(
            "Of the 81 paths, 64 pass through two heads. What share of the way from a "
            "uniform guess to the model's loss do you expect these 64 to bring, when "
            "the patterns are held fixed?"
        ),
        choices=(
            Choice(
                "Most of it: they are the great majority.",
                "They are many, but each of them is a product of two narrow matrices "
                "that were mostly trained for something else.",
            ),
            Choice(
                "About half.",
                "It is less. The direct path and the single heads do nearly all of the "
                "work.",
            ),
            Choice(
                "A tenth or less.",
                "In the paper it was 0.3 of 7.3 nats. Run the cells below for the two "
                "models here.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="heads_of_layer_0",
        question=(
            "All heads of layer 0 are silenced. Once, all patterns are held as they "
            "were; once, layer 1 computes its patterns anew. When does the loss rise "
            "more?"
        ),
        choices=(
            Choice(
                "With the patterns held.",
                "Then layer 1 still knows where to look, because the patterns were "
                "made with layer 0's help.",
            ),
            Choice(
                "With new patterns.",
                "Part of what layer 0 does is to tell layer 1 where to look. Held "
                "patterns keep that part.",
            ),
            Choice(
                "It makes no difference.",
                "It would make none if layer 1 did not read layer 0 in its queries and "
                "keys.",
            ),
        ),
        right=1,
    ),
)
