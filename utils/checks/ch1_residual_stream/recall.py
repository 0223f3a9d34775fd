"""Chapter 1: what later chapters begin with."""

from utils.checks import Choice, Recall

__all__ = ["RECALL"]


RECALL = (
    Recall(
        name="stream_is_a_sum",
        question=(
            "In a model of attention layers only, without norms, what is the stream at "
            "the last layer's end?"
        ),
        choices=(
            Choice(
                "The token's embedding plus one vector from each head.",
                "Every head adds and nothing is ever overwritten. So the stream is a "
                "sum, and each part of it has one author.",
            ),
            Choice(
                "What the last layer has computed; earlier layers are replaced.",
                "No layer replaces anything. Each one adds to what is there.",
            ),
            Choice(
                "The product of all layers' outputs.",
                "Heads add their vectors. Products appear when a path through several "
                "heads is followed.",
            ),
            Choice(
                "The embedding plus the position vector plus the heads.",
                "In the course's models positions are added only to what queries and "
                "keys read. The stream does not hold them.",
            ),
        ),
        right=0,
        about=(
            "decompose_residual",
            "one_head_silent",
        ),
    ),
    Recall(
        name="centred_logits",
        question=(
            "Head A adds 3 to the right token's logit and 3 to all others. Head B adds "
            "1 to the right token's logit and nothing to the others. Which one helps "
            "the prediction?"
        ),
        choices=(
            Choice(
                "A, because 3 is more than 1.",
                "It lifts every logit alike, and a softmax does not notice that.",
            ),
            Choice(
                "B only.",
                "The softmax sees differences. B makes the right token stand out by 1, "
                "A by nothing. That is why attributions are centred over the "
                "vocabulary.",
            ),
            Choice(
                "Both, A three times as much.",
                "A changes no difference between two logits.",
            ),
            Choice(
                "Neither, single heads do not change probabilities.",
                "B does: the right token now leads by one more.",
            ),
        ),
        right=1,
        about=(
            "five_on_every_logit",
            "logit_attribution",
        ),
    ),
    Recall(
        name="attribution_is_direct",
        question=(
            "Direct logit attribution says that head 0.4 gives 0.0 to the right "
            "token's logit. May you conclude that the model does as well without it?"
        ),
        choices=(
            Choice(
                "Yes, that is what attribution measures.",
                "It counts what a head writes straight to the logits, and nothing "
                "else.",
            ),
            Choice(
                "No: heads of later layers may read what it writes.",
                "Its work may go through others. To know what happens without a head, "
                "take it out and run the model.",
            ),
            Choice(
                "Yes, if the number is exactly 0.",
                "Even then a later head may look elsewhere because of it.",
            ),
            Choice(
                "No, because logits are only known up to a factor.",
                "They are known up to a constant. The reason is another one: paths "
                "through later heads are not counted.",
            ),
        ),
        right=1,
        about=("logit_attribution",),
    ),
    Recall(
        name="two_halves",
        question=("Which statement about W_QK and W_OV of one head is right?"),
        choices=(
            Choice(
                "W_QK says what is moved, W_OV from where.",
                "The other way round: queries and keys choose the place, values and "
                "outputs carry the content.",
            ),
            Choice(
                "They share W_V, so changing where a head looks changes what it moves.",
                "They share no weights: Q and K make one product, V and O the other.",
            ),
            Choice(
                "W_QK says from where to where, W_OV says what.",
                "This is why the two halves of a head can be studied one at a time.",
            ),
        ),
        right=2,
        about=(
            "ov_matrix",
            "qk_matrix",
        ),
    ),
    Recall(
        name="low_rank_heads",
        question=(
            "d_model is 256 and d_head is 32. A head attends to one position. How many "
            "numbers about that position's stream can reach what it writes?"
        ),
        choices=(
            Choice(
                "256, the whole vector.",
                "All 256 enter W_V, and only 32 come out of it.",
            ),
            Choice(
                "32.",
                "The value has d_head numbers. Whatever is written is made of them, so "
                "W_OV has rank 32 at most.",
            ),
            Choice(
                "64, for W_V and W_O.",
                "One comes after the other, so the narrow place is passed once.",
            ),
        ),
        right=1,
        about=(
            "rank_of_ov",
            "ov_matrix",
        ),
    ),
    Recall(
        name="meaning_of_a_dimension",
        question=(
            "Somebody reports that entry 17 of the stream is large whenever a bracket "
            "is open, in a model without norms. What should you ask first?"
        ),
        choices=(
            Choice(
                "Nothing, entries of the stream have a meaning each.",
                "The whole stream can be turned, weights and all, and the same model "
                "then has another entry 17.",
            ),
            Choice(
                "Whether a turned basis would show it as well as this one.",
                "No basis of the stream is special. A direction that parts of the "
                "model read may mean something; that it lies along axis 17 is a choice "
                "of basis.",
            ),
            Choice(
                "Whether entry 18 shows it too.",
                "Neighbouring entries have no more to do with each other than any "
                "others.",
            ),
        ),
        right=1,
        about=(
            "turn_the_stream",
            "rotate_basis",
        ),
    ),
    Recall(
        name="factors_of_a_head",
        question=(
            "Two trainings end with very different W_V and W_O in some head, and with "
            "the same product W_V W_O. How do the two heads differ in what they write, "
            "given the same pattern?"
        ),
        choices=(
            Choice(
                "Not at all.",
                "Only the product reaches the stream. An invertible matrix slipped in "
                "between, with its inverse, changes both factors and nothing else.",
            ),
            Choice(
                "By a rotation.",
                "A rotation between the factors is undone by its inverse inside the "
                "product.",
            ),
            Choice(
                "By the sizes of their values only.",
                "The sizes of values do differ, and W_O makes up for that exactly.",
            ),
        ),
        right=0,
        about=("reparametrise_head",),
    ),
    Recall(
        name="which_side_moves",
        question=(
            "In A ⊗ W, with W = Id, what does the operator do to a stream of several "
            "positions?"
        ),
        choices=(
            Choice(
                "It works at each position by itself and mixes no positions.",
                "That is Id ⊗ W. Look at where the identity stands: on that side "
                "nothing happens.",
            ),
            Choice(
                "It mixes positions by A and leaves the entries of the vectors apart.",
                "The left factor acts across positions, the right one at each "
                "position. The identity on the right does nothing.",
            ),
            Choice(
                "Nothing, a product with the identity changes nothing.",
                "The identity stands on one side only. A still acts.",
            ),
        ),
        right=1,
        about=(
            "identity_times_w",
            "head_as_tensor_product",
        ),
    ),
    Recall(
        name="what_bends",
        question=(
            "Which step of an attention-only model without norms is not linear in the "
            "stream?"
        ),
        choices=(
            Choice(
                "Unembedding.",
                "W_U is a matrix, and so a linear map.",
            ),
            Choice(
                "The step from the stream to the values.",
                "W_V is a matrix, so values are linear in the stream.",
            ),
            Choice(
                "Adding a head's output to the stream.",
                "A sum is linear.",
            ),
            Choice(
                "Making the pattern.",
                "Scores are products of two streams, and a softmax follows. Once the "
                "patterns are held, everything else is linear.",
            ),
        ),
        right=3,
        about=("twice_the_stream",),
    ),
    Recall(
        name="virtual_weights_join",
        question=(
            "Head 0.1 and head 3.5 share no weights and there are layers between them. "
            "What lets 3.5 read what 0.1 wrote?"
        ),
        choices=(
            Choice(
                "Nothing, only neighbouring layers are connected.",
                "What is written stays in the stream until the end.",
            ),
            Choice(
                "The stream: what 0.1 added is still in it.",
                "Multiplying a write matrix with a read matrix gives the virtual "
                "weight that joins the two.",
            ),
            Choice(
                "The heads of the layers in between, which have to pass it on.",
                "They may add something, and nothing has to be passed on: the stream "
                "carries it.",
            ),
        ),
        right=1,
        about=(
            "feeds_which_inputs",
            "virtual_weight",
        ),
    ),
    Recall(
        name="room_in_many_dimensions",
        question=(
            "In d dimensions, two directions are drawn at random. How does the typical "
            "size of their cosine change when d becomes four times as large?"
        ),
        choices=(
            Choice(
                "It stays, there is no reason for a change.",
                "With more dimensions there is more room, and random directions get "
                "closer to a right angle.",
            ),
            Choice(
                "It becomes half as large.",
                "It is about one over the square root of d.",
            ),
            Choice(
                "It becomes a quarter as large.",
                "The square of the cosine does: its mean is 1/d. The typical size is "
                "the root.",
            ),
        ),
        right=1,
        about=(
            "random_directions",
            "feature_interference",
        ),
    ),
)
