"""Chapter 4: ideas of earlier predictions, asked once more in another case."""

from utils.checks import Choice, Prediction

__all__ = ["TWINS"]

TWINS = (
    Prediction(
        name="composition_kind_again",
        question=(
            "Head 0.2 writes at each position which token came before it. Head 1.3 "
            "attends to the position before, whatever stands there, and passes on what "
            "0.2 wrote in that place. Which composition is this?"
        ),
        choices=(
            Choice(
                "K-composition, as in induction.",
                "Head 1.3 finds its place by position. It reads nothing of 0.2's in "
                "its keys.",
            ),
            Choice(
                "V-composition: what is moved is what 0.2 wrote.",
                "The place is found without 0.2. What is carried from there is 0.2's, "
                "so the two make a virtual head that brings a token from two back.",
            ),
            Choice(
                "Q-composition: the head asks for the token before.",
                "It asks for a position. Nothing that 0.2 wrote enters its query.",
            ),
        ),
        right=1,
        of="composition_kind",
    ),
    Prediction(
        name="score_by_chance_again",
        question=(
            "In a stream with d_model 1,024 two heads have a composition score of "
            "0.05. In a stream with d_model 64 two others have 0.11. Which pair stands "
            "out from chance?"
        ),
        choices=(
            Choice(
                "The first.",
                "Random heads score about 1/32 = 0.03 in 1,024 dimensions, and 1/8 = "
                "0.125 in 64. So 0.05 is above the floor and 0.11 below it.",
            ),
            Choice(
                "The second, as 0.11 is more than 0.05.",
                "The floor is 1/8 there. A score says nothing before it is compared "
                "with it.",
            ),
            Choice(
                "Both, as both are above 0.",
                "Chance does not give 0. It gives about one over the root of d_model.",
            ),
        ),
        right=0,
        of="score_by_chance",
    ),
    Prediction(
        name="heads_of_layer_0_again",
        question=(
            "On repeated random tokens the patterns of a two-layer model are held as "
            "they were, and layer 0 is silenced. What do you expect of its knowledge "
            "of the second copy?"
        ),
        choices=(
            Choice(
                "It is gone, as the circuit needs a head of layer 0.",
                "It needs that head to find the place. With the patterns held the "
                "places are found already.",
            ),
            Choice(
                "Most of it stays.",
                "What layer 0 does for repeats is to tell layer 1 where to look, and "
                "held patterns keep that. The token itself is still in the stream.",
            ),
            Choice(
                "It grows, as nothing disturbs layer 1 any more.",
                "It may change a little either way. But the gain over the first copy "
                "comes from looking at the right place, and this stays as it was.",
            ),
        ),
        right=1,
        of="heads_of_layer_0",
    ),
    Prediction(
        name="round_the_corner_again",
        question=(
            "To see whether a program has mixed up the order of factors, you compare "
            "the eigenvalues of its product with those of the right one. They agree. "
            "What do you know?"
        ),
        choices=(
            Choice(
                "That the product is right.",
                "A cycle of the factors, or a transpose, has the same eigenvalues and "
                "is another matrix.",
            ),
            Choice(
                "Little: a wrong order can leave them as they are.",
                "Better is to let the product do its work, on a vector whose result is "
                "known.",
            ),
            Choice(
                "That the Frobenius norm agrees too.",
                "The norm is made of another product and may differ while all "
                "eigenvalues agree.",
            ),
        ),
        right=1,
        of="round_the_corner",
    ),
    Prediction(
        name="number_of_paths_again",
        question=(
            "Head 0.3 is taken out of a model with two layers of 8 heads. How many of "
            "its 81 paths go with it?"
        ),
        choices=(
            Choice(
                ("1, the path through this head."),
                (
                    "It is also the first half of other paths: each head of layer 1 "
                    "can move what 0.3 wrote."
                ),
            ),
            Choice(
                ("8, one for each head of layer 1."),
                ("And there is the path that passes through 0.3 alone."),
            ),
            Choice(
                ("9."),
                (
                    "Through 0.3 alone, and through 0.3 and then each of the eight "
                    "heads of layer 1. A head of layer 1 takes nine along as well."
                ),
            ),
            Choice(
                ("17."),
                ("That would be all paths with one head and the direct path."),
            ),
        ),
        right=2,
        of="number_of_paths",
    ),
    Prediction(
        name="two_steps_back_again",
        question=(
            "Head 0.1 gives half of its attention to its own position and half to the "
            "one before. Head 1.0 does the same. Where does the virtual head made of "
            "both look?"
        ),
        choices=(
            Choice(
                ("Half at its own position, half at the one before."),
                (
                    "That is what each of the two does. Both can stay or step, so two "
                    "steps can add up."
                ),
            ),
            Choice(
                ("A third each at its own position, one back and two back."),
                (
                    "One back can be reached in two ways: step and stay, or stay and "
                    "step."
                ),
            ),
            Choice(
                ("A quarter at its own position, half one back, a quarter two back."),
                (
                    "Stay twice, step once in either head, step twice. Patterns "
                    "multiply as matrices do."
                ),
            ),
        ),
        right=2,
        of="two_steps_back",
    ),
    Prediction(
        name="worth_of_pairs_again",
        question=(
            "Random tokens are repeated, and `two_layer` knows most of the second "
            "copy. It takes a head of layer 0 and one of layer 1 to find the place. "
            "The patterns are held. What do the 64 pairs of heads take off the loss "
            "on the second copy, on top of the direct path and the single heads?"
        ),
        choices=(
            Choice(
                ("Most of it: this is the work of two heads."),
                (
                    "Two heads are needed to find the place. Where to look stands in "
                    "the pattern, and that is held."
                ),
            ),
            Choice(
                ("About half."),
                (
                    "It would take a token that was carried through two heads. What "
                    "is copied is the token at the place itself, and that comes from "
                    "the embedding through one head."
                ),
            ),
            Choice(
                ("Nothing, or less than nothing."),
                (
                    "What is carried is a token's own embedding, through one head of "
                    "layer 1. What layer 0 contributes is inside the pattern, where "
                    "this sum cannot see it."
                ),
            ),
        ),
        right=2,
        of="worth_of_pairs",
    ),
)
