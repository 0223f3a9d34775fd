"""Chapter 4: what later chapters begin with."""

from utils.checks import Choice, Recall

__all__ = ["RECALL"]


RECALL = (
    Recall(
        name="count_the_paths",
        question=(
            "A two-layer model has 4 heads in each layer. How many paths lead from a "
            "token to the logits, with the patterns held?"
        ),
        choices=(
            Choice(
                "9: one direct, and one through each of the eight heads.",
                "There are also paths through a head of layer 0 and then one of layer "
                "1.",
            ),
            Choice(
                "25: one direct, 8 through one, 16 through two.",
                "(1 + 4) times (1 + 4): in each layer a path takes one of four heads "
                "or none.",
            ),
            Choice(
                "16: one for each pair.",
                "A path may also take one head, or none.",
            ),
            Choice(
                "64",
                "That is the number of pairs with 8 heads in each layer.",
            ),
        ),
        right=1,
        about=(
            "number_of_paths",
            "two_layer_path_terms",
        ),
    ),
    Recall(
        name="virtual_parameters",
        question=("What does a virtual head have that an ordinary head has too?"),
        choices=(
            Choice(
                "Weights of its own, which training has shaped.",
                "It has none. It is the product of two heads that are there anyway.",
            ),
            Choice(
                "A pattern and an OV matrix.",
                "Its pattern is the product of two patterns, its OV matrix the product "
                "of two OV matrices.",
            ),
            Choice(
                "A query and a key.",
                "Its pattern is not made from a query and a key of its own. It follows "
                "from two others.",
            ),
        ),
        right=1,
        about=(
            "number_of_paths",
            "virtual_head",
        ),
    ),
    Recall(
        name="order_of_patterns",
        question=(
            "Head 0.a attends from each position to the start token. Head 1.b attends "
            'one position back. Where does the virtual head "0.a then 1.b" get its '
            "content from?"
        ),
        choices=(
            Choice(
                "From the start token.",
                "1.b fetches from the position before what 0.a has put there, and that "
                "came from the start token.",
            ),
            Choice(
                "From the position before.",
                "That is 1.b's own source. What 0.a wrote there came from further "
                "away.",
            ),
            Choice(
                "From two positions back.",
                "Two steps of one each would give that. Here the first step leads to "
                "the start.",
            ),
        ),
        right=0,
        about=(
            "two_steps_back",
            "virtual_head",
        ),
    ),
    Recall(
        name="three_inputs",
        question=(
            "A head of layer 1 should find the position after an earlier copy of the "
            "present token. A head of layer 0 has written at each position what stood "
            "before it. Which kind of composition is that?"
        ),
        choices=(
            Choice(
                "Q-composition: the search begins with the query.",
                "The query is the present token, which the embedding says already. "
                "What layer 0 wrote is at the place that is to be found.",
            ),
            Choice(
                "K-composition: it enters what a position offers.",
                'The key now says "I come after that token".',
            ),
            Choice(
                "V-composition: it is what is carried.",
                "What is carried is the token at the found place. Finding it is a "
                "matter of query and key.",
            ),
        ),
        right=1,
        about=(
            "composition_kind",
            "q_composition",
            "k_composition",
            "v_composition",
        ),
    ),
    Recall(
        name="by_chance_not_zero",
        question=(
            "Two heads have a composition score of 0.06 in a stream of 256 dimensions. "
            "What does that tell you?"
        ),
        choices=(
            Choice(
                "They compose, as it is above 0.",
                "Random matrices of this size score about 0.06. Zero is not what "
                "chance gives.",
            ),
            Choice(
                "No more than chance does.",
                "The floor is 0.0625. Only what stands clear of it, in spreads of "
                "random heads, says something.",
            ),
            Choice(
                "They avoid each other.",
                "Avoiding would be a score clearly below the floor.",
            ),
        ),
        right=1,
        about=(
            "score_by_chance",
            "random_composition",
            "composition_score",
        ),
    ),
    Recall(
        name="low_scores",
        question=(
            "The V-composition of two heads is below that of random heads. What "
            "follows for the path through both?"
        ),
        choices=(
            Choice(
                "It adds nothing to the prediction.",
                "The score is a share of all directions. A little that is read may be "
                "the useful part.",
            ),
            Choice(
                "Nothing about its worth.",
                "Scores find heads made for each other. Whether what passes is useful "
                "is another question.",
            ),
            Choice(
                "It must do harm.",
                "A path that is weak need not be harmful.",
            ),
        ),
        right=1,
        about=(
            "v_composition",
            "term_importance",
        ),
    ),
    Recall(
        name="moving_a_factor",
        question=(
            "A program replaces the product A B C by C A B, because it is smaller. "
            "Which question may it still answer?"
        ),
        choices=(
            Choice(
                "How large is its Frobenius norm?",
                "The norm may change: it is made of another product, in which each "
                "factor comes twice.",
            ),
            Choice(
                "What are its non-zero eigenvalues?",
                "A cycle of factors leaves them, and the trace. This is why a check by "
                "eigenvalues did not find the mistake in the paper's first figure.",
            ),
            Choice(
                "What does it do to a given vector?",
                "C A B does something else to it, and may not even fit its size.",
            ),
        ),
        right=1,
        about=(
            "round_the_corner",
            "cyclic_composition_score",
        ),
    ),
    Recall(
        name="held_or_new",
        question=(
            "A head of layer 0 is silenced twice: with all patterns held, and with "
            "patterns computed anew. The loss rises by 0.1 and by 3 nats. What does "
            "this head mainly do?"
        ),
        choices=(
            Choice(
                "It speaks to the logits.",
                "That part is lost in both cases, and it costs 0.1 at most.",
            ),
            Choice(
                "It tells later heads where to look.",
                "Held patterns keep this part of its work. When they are computed "
                "anew, it is gone too.",
            ),
            Choice(
                "Nothing: the two results contradict each other.",
                "They are answers to two questions, and their difference is the "
                "finding.",
            ),
        ),
        right=1,
        about=(
            "heads_of_layer_0",
            "pattern_preserving_ablation",
        ),
    ),
    Recall(
        name="worth_in_passing",
        question=(
            "A set of heads lowers the loss by 1.3 nats when it is added to the direct "
            "path, and by 0.05 when it is added to all other heads. How can both be "
            "right?"
        ),
        choices=(
            Choice(
                "The others know much of the same, so little is left to add.",
                "What something is worth depends on what is there already. Neither "
                'number is "the" worth.',
            ),
            Choice(
                "One of the two is a mistake, worth cannot depend on the order.",
                "It does, whenever two parts know the same thing.",
            ),
            Choice(
                "The heads have been trained in between.",
                "Both are measured on one model.",
            ),
        ),
        right=0,
        about=("marginal_effect",),
    ),
)
