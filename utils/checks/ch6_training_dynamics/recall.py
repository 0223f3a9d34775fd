"""Chapter 6: what later chapters begin with."""

from utils.checks import Choice, Recall

__all__ = ["RECALL"]


RECALL = (
    Recall(
        name="sign_of_icl",
        question=(
            "The in-context learning score is the mean loss late in a text minus the "
            "mean loss early in it. A model scores -0.4. What does it say?"
        ),
        choices=(
            Choice(
                "It got worse with more context.",
                "Then the late loss would be the higher one, and the difference "
                "positive.",
            ),
            Choice(
                "It uses its context, by 0.4 nats.",
                "Negative means learning, in this order of the difference. Some papers "
                "use the other sign.",
            ),
            Choice(
                "Nothing, without the height of the loss.",
                "The height drops out, and that is the point of a difference.",
            ),
        ),
        right=1,
        about=("in_context_learning_score",),
    ),
    Recall(
        name="luck_of_windows",
        question=(
            "Why is the bigram table's score taken off a model's in-context learning "
            "score?"
        ),
        choices=(
            Choice(
                "Its score is the luck of the chosen texts.",
                "The same texts are behind the model's score, so the same luck is in "
                "it.",
            ),
            Choice(
                "Because bigrams are part of in-context learning.",
                "A bigram uses one token. No amount of earlier text helps it.",
            ),
            Choice(
                "To make all scores negative.",
                "It can move a score either way.",
            ),
        ),
        right=0,
        about=(
            "whose_score",
            "in_context_learning_score",
        ),
    ),
    Recall(
        name="above_chance_and_learning",
        question=(
            "A model trained on text has a loss above chance on repeated noise. Has it "
            "learned nothing about repeats?"
        ),
        choices=(
            Choice(
                "Right, a loss above chance means nothing was learned.",
                "What it knows of text costs it dearly in noise, and may hide what it "
                "gains.",
            ),
            Choice(
                "Compare the second copy with the first to tell.",
                "The price of being sure of text is on both copies. Only looking back "
                "can make the second one easier.",
            ),
            Choice(
                "It has, because chance is an upper bound.",
                "The loss has no upper bound. This one lies above chance, for "
                "instance.",
            ),
        ),
        right=1,
        about=(
            "text_alone",
            "one_layer_repeats",
        ),
    ),
    Recall(
        name="what_the_data_did",
        question=(
            "Rows of repeated noise are mixed into the training data. Which part of "
            "what is seen afterwards may not be taken as evidence about ordinary text?"
        ),
        choices=(
            Choice(
                "That heads attend to the token after an earlier copy.",
                "Text alone makes such heads too, with two layers.",
            ),
            Choice(
                "How far the loss on repeated noise falls.",
                "Such rows pay for exactly that. So two kinds of data are kept apart "
                "and never pooled.",
            ),
            Choice(
                "That the loss on text falls.",
                "It is measured on text, and falls without any repeats.",
            ),
        ),
        right=1,
        about=("text_alone",),
    ),
    Recall(
        name="window_rule",
        question=(
            "A curve makes 28 % of its whole change within the steepest quarter of all "
            "steps. Is that a sudden change?"
        ),
        choices=(
            Choice(
                "Yes, it found a window with a large share.",
                "Some window is always the steepest. The question is by how much.",
            ),
            Choice(
                "No: an even curve has 25 % in any quarter.",
                "The share has to be compared with that. And a large share of a tiny "
                "change means nothing, so look at the change itself, too.",
            ),
            Choice(
                "That depends on the number of heads.",
                "The rule looks at one curve and its steps.",
            ),
        ),
        right=1,
        about=(
            "coincide",
            "phase_change_step",
        ),
    ),
    Recall(
        name="smear_gives_away",
        question=(
            "Each key is mixed with the key before it. Why can one layer then do "
            "induction?"
        ),
        choices=(
            Choice(
                "Because the model has more parameters.",
                "One share for each head is next to nothing.",
            ),
            Choice(
                "A key now says what stood before it.",
                "That is what a previous-token head in a layer below would have to "
                "provide. What is left to learn is the matching.",
            ),
            Choice(
                "Because queries can look into the future.",
                "The mask is as before. Only keys know their neighbours, on the left.",
            ),
        ),
        right=1,
        about=(
            "smeared",
            "smear_keys",
        ),
    ),
    Recall(
        name="lag_shortcut",
        question=(
            "All repeats in the training data come after exactly 40 tokens. A "
            "one-layer model then does well on repeats at lag 40. What will it do at "
            "lag 25?"
        ),
        choices=(
            Choice(
                "Equally well: it has learned to match.",
                "Nothing asked for matching. Looking back a fixed number of positions "
                "was enough.",
            ),
            Choice(
                "Badly: it has learned a distance.",
                "The head looks 39 back, whatever stands there. A test at one distance "
                "cannot see the difference.",
            ),
            Choice(
                "Better, as 25 is nearer.",
                "It looks to a fixed place, and at lag 25 that place is wrong.",
            ),
        ),
        right=1,
        about=("fixed_lag",),
    ),
    Recall(
        name="together_or_cause",
        question=(
            "In-context learning and induction heads appear in the same quarter of a "
            "training. What would show that the heads are the cause?"
        ),
        choices=(
            Choice(
                "A second training in which they appear together again.",
                "Things that happen together again may still have a common cause.",
            ),
            Choice(
                "Taking the heads out, or making them form sooner.",
                "An intervention changes one thing and looks at the other. A "
                "coincidence, however narrow, does not.",
            ),
            Choice(
                "A narrower window.",
                "It makes the coincidence closer, and still a coincidence.",
            ),
        ),
        right=1,
        about=(
            "coincide",
            "contradicted",
        ),
    ),
    Recall(
        name="average_and_single",
        question=(
            "The mean loss of a kind of token falls while induction forms. Can the "
            "loss of some of these tokens have risen?"
        ),
        choices=(
            Choice(
                "Yes, a mean hides its parts.",
                "So count how many got worse, and compare with a control in which no "
                "such heads form.",
            ),
            Choice(
                "No, otherwise the mean would rise.",
                "A few may rise while many fall.",
            ),
            Choice(
                "Only if the loss is measured wrongly.",
                "It is the ordinary case that single tokens go up while the mean goes "
                "down.",
            ),
        ),
        right=0,
        about=("contradicted",),
    ),
)
