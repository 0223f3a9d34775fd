"""Chapter 5: what later chapters begin with."""

from utils.checks import Choice, Recall

__all__ = ["RECALL"]


RECALL = (
    Recall(
        name="one_step_further",
        question=(
            "A row reads `... A B ... A`, and an induction head stands at the last A. "
            "Where does it attend?"
        ),
        choices=(
            Choice(
                "At the first A.",
                "That is a duplicate-token head. Copying from there would predict A "
                "again.",
            ),
            Choice(
                "At B, the token after the first A.",
                "B is what should come next, so B is what there is to copy.",
            ),
            Choice(
                "At the token that stands before the first A.",
                "Nothing there helps to guess what comes next.",
            ),
        ),
        right=1,
        about=(
            "where_it_looks",
            "prefix_matching_score",
        ),
    ),
    Recall(
        name="stripe_of_a_repeat",
        question=(
            "Twenty random tokens are followed by the same twenty. How far back does "
            "an induction head look in the second copy?"
        ),
        choices=(
            Choice(
                "20 positions",
                "There stands the present token itself. One further on stands what "
                "came next.",
            ),
            Choice(
                "19 positions",
                "The span less one: the token after the earlier copy.",
            ),
            Choice(
                "21 positions",
                "There stands the token before the earlier copy.",
            ),
        ),
        right=1,
        about=(
            "where_it_looks",
            "prefix_matching_score",
        ),
    ),
    Recall(
        name="set_or_order",
        question=(
            "On the second copy of 64 random tokens, a model's loss is far below that "
            "of guessing among the whole vocabulary. Does it use the order of the "
            "first copy?"
        ),
        choices=(
            Choice(
                "Yes, chance was beaten.",
                "Knowing which 64 tokens are around beats chance by far, in any order.",
            ),
            Choice(
                "Only if it also beats knowing the set of tokens.",
                "Who strikes off used tokens pays a mean of ln(63!)/63 = 3.2 nats "
                "after the first. Below that, order is needed.",
            ),
            Choice(
                "No, the order of random tokens cannot be learned by anybody.",
                "It can be looked up, which is what induction does.",
            ),
        ),
        right=1,
        about=(
            "below_chance",
            "repeat_loss",
        ),
    ),
    Recall(
        name="why_two_layers",
        question=("Why can a single layer of attention not do induction?"),
        choices=(
            Choice(
                "It has too few heads, and each looks at one place only.",
                "More heads in one layer do not help: none of them sees what another "
                "wrote.",
            ),
            Choice(
                "No score knows the token before the source.",
                'So no head can look for "what comes after a q". Somebody has to '
                "write into the key what stood before it.",
            ),
            Choice(
                "It cannot copy.",
                "One layer copies well. What it lacks is the way to the right place.",
            ),
        ),
        right=1,
        about=(
            "previous_token_score",
            "which_edge",
        ),
    ),
    Recall(
        name="edge_of_induction",
        question=(
            "You hide from an induction head what the previous-token head wrote, but "
            "only from its values. What happens to induction, as the paper describes "
            "it?"
        ),
        choices=(
            Choice(
                "It ends.",
                "It would if the keys were cut. The values carry the attended token "
                "itself.",
            ),
            Choice(
                "It goes on nearly as before.",
                "What is copied is the token at the found place, and its embedding "
                "says which it is. The news of the previous token is needed in the "
                "key.",
            ),
            Choice(
                "It copies the previous token instead.",
                "For that the values would have to be made of what the previous-token "
                "head wrote, and of nothing else.",
            ),
        ),
        right=1,
        about=(
            "which_edge",
            "ablate_edge",
        ),
    ),
    Recall(
        name="sign_and_norm",
        question=(
            "Two heads have a large K-composition score. Can the second one be a head "
            "that avoids the matching place?"
        ),
        choices=(
            Choice(
                "No, a large score means that it matches.",
                "The score is a ratio of norms, and a norm has no sign.",
            ),
            Choice(
                "Yes: the score does not see a sign.",
                "So composition says that something is read. Eigenvalues, or "
                "behaviour, say whether it is looked for or avoided.",
            ),
            Choice(
                "Only if the score is negative.",
                "A ratio of norms is never negative.",
            ),
        ),
        right=1,
        about=(
            "sign_flip",
            "same_matching_score",
        ),
    ),
    Recall(
        name="fixed_distance",
        question=(
            "A head scores 0.9 for prefix matching on repeats of span 30, and was "
            "tested on no other. What else could it be?"
        ),
        choices=(
            Choice(
                "Nothing: 0.9 is far above what chance gives to a head.",
                "A high score at one span does not say how the place was found.",
            ),
            Choice(
                "A head that always looks back 29 positions.",
                "At span 30 it hits the target each time. At another span it would hit "
                "nothing. So test several.",
            ),
            Choice(
                "A previous-token head.",
                "That looks one back, which is no target in a repeat of 30.",
            ),
        ),
        right=1,
        about=(
            "prefix_matching_score",
            "repeated_tokens",
        ),
    ),
    Recall(
        name="copying_and_finding",
        question=("Which two things does a head of the last layer need for induction?"),
        choices=(
            Choice(
                "A high K-composition score with a head below, and many parameters.",
                "A high score may come with the wrong sign, and size is no condition.",
            ),
            Choice(
                "It finds the token after an earlier copy, and raises it.",
                "Finding without copying predicts nothing, copying without finding "
                "repeats whatever is around.",
            ),
            Choice(
                "It looks one back, and it raises the token before.",
                "Looking one back is the work of the other head, in the layer below.",
            ),
        ),
        right=1,
        about=(
            "copying_head_score",
            "logit_effect",
        ),
    ),
    Recall(
        name="same_behaviour",
        question=(
            "Two hand-built models continue every repeat without an error. Do they "
            "have the same mechanism?"
        ),
        choices=(
            Choice(
                "Yes, the same predictions mean the same mechanism.",
                "One may write the previous token into keys, the other may fetch "
                "positions into queries.",
            ),
            Choice(
                "Not necessarily: cutting single edges tells.",
                "In one the K edge carries induction, in the other the Q edge. "
                "Behaviour alone does not show it.",
            ),
            Choice(
                "No, two models never have the same mechanism.",
                "They may well. It has to be tested.",
            ),
        ),
        right=1,
        about=(
            "pointer_edge",
            "build_pointer_model",
        ),
    ),
)
