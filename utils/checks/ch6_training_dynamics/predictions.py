"""Chapter 6: what is asked before a reveal."""

from utils.checks import Choice, Prediction

__all__ = ["PREDICTIONS"]


PREDICTIONS = (
    Prediction(
        name="whose_score",
        question=(
            "A bigram table sees the current token only. Windows of text are cut at "
            "random places. What will its in-context learning score be?"
        ),
        choices=(
            Choice(
                "Exactly 0: it uses no context.",
                "It would be, with endlessly many windows. With a hundred, the late "
                "tokens may happen to be harder or easier than the early ones.",
            ),
            Choice(
                "Near 0, and whatever it is, is luck of the windows.",
                "It uses no context, so only the choice of windows can make late "
                "tokens easier or harder. The same luck is in the model's score, which "
                "is why it is taken off.",
            ),
            Choice(
                "Clearly negative: later text is easier to predict.",
                "Later text is easier for a reader who remembers. And since windows "
                "are cut at random places, late tokens are no other kind of token.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="one_layer_repeats",
        question=(
            "A one-layer model is trained on text with 13 % rows of repeated random "
            "tokens. Chance is ln 512 = 6.24 nats. Where will its loss on such repeats "
            "be after 500 steps?"
        ),
        choices=(
            Choice(
                "Near ln(24!)/24 = 2.28: it learns which tokens are around.",
                "One layer could copy what is around, but copying all tokens alike "
                "costs it on text, which is most of what it reads. It does not get "
                "there.",
            ),
            Choice(
                "At chance: it can do nothing about them.",
                "It can do worse than nothing. Chance is what a model reaches that "
                "spreads its guess evenly, and this one has learned not to.",
            ),
            Choice(
                "Above chance.",
                "It has learned which tokens follow each other in text, and it is "
                "sure of them in noise too. It has no head that finds the right place.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="text_alone",
        question=(
            "A two-layer model has seen text alone. On random tokens repeated, what "
            "becomes of its best prefix-matching score and of its loss (chance: 6.93 "
            "nats)?"
        ),
        choices=(
            Choice(
                "The score rises and the loss falls far below chance.",
                "So it is with repeats in the data. From text alone a head learns to "
                "match, but not to be sure of a token that makes no sense there.",
            ),
            Choice(
                "The score rises; the loss rises above chance, and later falls back "
                "part of the way.",
                "First the model becomes sure of what holds in text, which noise "
                "punishes. Then its heads begin to match and to copy, and win a part "
                "back. The loss against chance alone would have misled you.",
            ),
            Choice(
                "The score rises, but the loss only rises too: nothing is copied.",
                "The later copies end up over 2 nats easier than the first. Compare "
                "copy with copy, not with chance.",
            ),
            Choice(
                "Neither moves: text teaches nothing about noise.",
                "Text repeats itself too, and a head that matches tokens does so for "
                "any token, at least in part.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="coincide",
        question=(
            "For each of three two-layer runs, three windows of largest change: of "
            "in-context learning, of prefix matching on random tokens, and of the gap "
            "in text loss to one layer. How far apart will their middles be?"
        ),
        choices=(
            Choice(
                "At the same snapshot: they are one event.",
                "They belong together, but they measure different things. Heads that "
                "help with text need more time to work on random tokens.",
            ),
            Choice(
                "Within a fifth of the training, prefix matching never first.",
                "Close enough to belong together, and the heads come with the rest or "
                "after it.",
            ),
            Choice(
                "Far apart, and in a different order in each run.",
                "Then they would have little to do with each other. Three seeds say "
                "otherwise.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="contradicted",
        question=(
            "While induction forms, the loss on continued tokens falls by over a nat. "
            "What does the loss on contradicted tokens do, where the last continuation "
            "is the wrong guess?"
        ),
        choices=(
            Choice(
                "It rises by about as much.",
                "That would be a model that bets everything on repetition. Then its "
                "loss on text could not fall.",
            ),
            Choice(
                "It rises a little, on average.",
                "This is what the paper's examples suggest. Here the average falls: "
                "whatever the wrong guess costs, the rest that is learned meanwhile "
                "is worth more.",
            ),
            Choice(
                "It falls, by about as much as with one layer.",
                "On average these models pay no price. The paper shows passages where "
                "a price is paid; an average over all tokens is another question.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="smeared",
        question=(
            "Each key is mixed with the key before it, with a trained share. What will "
            "a one-layer model do with that?"
        ),
        choices=(
            Choice(
                "Nothing new: induction needs two layers.",
                "It needs keys that know their neighbour. Normally that takes a layer; "
                "here the architecture gives it away.",
            ),
            Choice(
                "Induction, sooner than two plain layers.",
                "The half that two layers have to find first, the previous-token head, "
                "is built in. Only the matching head is left to learn.",
            ),
            Choice(
                "Induction, but later than two layers: it has fewer parameters.",
                "Size is not what delays two layers: give them this half, and they are "
                "sooner too.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="fixed_lag",
        question=(
            "All synthetic repeats in the data come after exactly 40 tokens. What will "
            "the best head of a one-layer model score for prefix matching?"
        ),
        choices=(
            Choice(
                "Low everywhere: one layer cannot do it.",
                "It cannot match. But always looking the same distance back takes no "
                "matching, only positions.",
            ),
            Choice(
                "High at lag 40, low at any other.",
                "A head that looks 39 positions back hits the right token whenever the "
                "lag is 40, and never otherwise.",
            ),
            Choice(
                "High at every lag: once it is learned, it is learned.",
                "What was learned is a distance. Nothing in the data asked for more.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="three_layers",
        question=(
            "A three-layer model can put its matching heads into layer 1 or layer 2 "
            "(counted from 0). Where will the best one be?"
        ),
        choices=(
            Choice(
                "In layer 1, right above the previous-token head.",
                "It could work there. But a head in the last layer reads a stream to "
                "which two layers have added, and speaks to the logits directly.",
            ),
            Choice(
                "In layer 2, the last.",
                "So the paper reports for attention-only models of every depth, and so "
                "it is here in every seed.",
            ),
            Choice(
                "In either, depending on the seed.",
                "It would be so if nothing spoke for one of them. The seeds agree.",
            ),
        ),
        right=1,
    ),
)
