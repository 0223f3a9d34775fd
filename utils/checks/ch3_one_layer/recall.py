"""Chapter 3: what later chapters begin with."""

from utils.checks import Choice, Recall

__all__ = ["RECALL"]


RECALL = (
    Recall(
        name="paths_of_one_layer",
        question=(
            "A one-layer model has 12 heads. Its patterns are held fixed. Of how many "
            "terms are its logits the sum?"
        ),
        choices=(
            Choice(
                "12, one for each head.",
                "There is also the path past all heads, from the embedding straight to "
                "the logits.",
            ),
            Choice(
                "13, one more than there are heads.",
                "With the patterns held, the product of unembedding, layer and "
                "embedding multiplies out into these terms exactly.",
            ),
            Choice(
                "144, one for each pair of its heads.",
                "Heads of one layer do not read each other, so no path goes through "
                "two of them.",
            ),
        ),
        right=1,
        about=(
            "one_layer_path_terms",
            "direct_path_in_context",
        ),
    ),
    Recall(
        name="role_of_qk_and_ov",
        question=(
            "A head has learned `try ... (new line) -> except`. Where in its two full "
            "circuits would you look for `try` together with `except`?"
        ),
        choices=(
            Choice(
                "In the QK circuit: query `except`, key `try`.",
                "`except` is not there yet when the head looks. It is what the head "
                "raises.",
            ),
            Choice(
                "In the QK circuit: query `try`, key `except`.",
                "The QK circuit joins the destination, the new line, with the source "
                "`try`.",
            ),
            Choice(
                "In the OV circuit: row `try`, column `except`.",
                "OV says what attending to a source adds to each output. That the new "
                "line looks for `try` stands in the QK circuit.",
            ),
        ),
        right=2,
        about=(
            "full_qk_circuit",
            "full_ov_circuit",
        ),
    ),
    Recall(
        name="qk_constants",
        question=(
            "In a full QK circuit, the entry for query `a` and key `k` is 9, and for "
            "query `b` and key `k` it is 4. Which query attends more to `k`?"
        ),
        choices=(
            Choice(
                "`a`, as 9 is more than 4.",
                "Each query's row has a constant of its own, which a softmax takes "
                "out. Entries of two rows do not compare.",
            ),
            Choice(
                "The two numbers do not tell.",
                "What counts is how 9 stands to the other entries of a's row, and 4 to "
                "those of b's. Centre rows first, or use a lift.",
            ),
            Choice(
                "`b`, as lower scores are better.",
                "Higher scores get more attention, within one row.",
            ),
        ),
        right=1,
        about=(
            "constant_on_a_row",
            "circuit_lift",
        ),
    ),
    Recall(
        name="by_position",
        question=(
            "A head always attends to the token before, in every text. What would you "
            "expect to read from its token-by-token QK circuit?"
        ),
        choices=(
            Choice(
                "Little of use: it chooses by position, not by tokens.",
                "Its scores come from the position vectors. So ask first how much of a "
                "head's attention is positional, and then read its tokens.",
            ),
            Choice(
                "A large entry for each pair of tokens that often stand side by side.",
                "It looks back whatever stands there, so no pair has to be in it.",
            ),
            Choice(
                "The identity, as it copies.",
                "Copying is a question to the OV circuit.",
            ),
        ),
        right=0,
        about=(
            "positional_share",
            "positional_pattern",
        ),
    ),
    Recall(
        name="what_reading_proves",
        question=(
            "Weights say `class ... def -> __init__`. On 30 held-out texts, replacing "
            "`class` lowers the log-probability of `__init__` by 0.5 nats, with an "
            "interval above 0. What is still missing?"
        ),
        choices=(
            Choice(
                "Nothing: an interval above 0 proves the reading.",
                "Many tokens of a text help a little, because each tells what kind of "
                "text it is.",
            ),
            Choice(
                "The same test with other sources at the same places.",
                "If dozens of other tokens have effects as large, `class` is nothing "
                "special. A reading stands when its effect ranks above nearly all of "
                "theirs.",
            ),
            Choice(
                "A longer training.",
                "The question is whether this model does it.",
            ),
        ),
        right=1,
        about=(
            "source_token_effect",
            "top_skip_trigrams",
        ),
    ),
    Recall(
        name="eigenvalues_and_copies",
        question=(
            "All eigenvalues of a head's full OV circuit are positive. Does every "
            "token raise its own logit?"
        ),
        choices=(
            Choice(
                "Yes, positive eigenvalues mean that each entry of the diagonal is "
                "positive.",
                "Only for symmetric matrices. [[-1, 3], [-1.5, 3.5]] has the "
                "eigenvalues 0.5 and 2, and -1 on its diagonal.",
            ),
            Choice(
                "Not necessarily: only the diagonal's sum is known.",
                "So look at the diagonal as well, and at what the head does on text.",
            ),
            Choice(
                "No, that would need negative eigenvalues.",
                "Positive eigenvalues speak for copying. They do not prove it for each "
                "token.",
            ),
        ),
        right=1,
        about=(
            "copying_score",
            "copying_top1",
            "how_many_copy",
        ),
    ),
    Recall(
        name="crossed_rules",
        question=(
            "One head has learned `open ... w -> file` and `open ... x -> door`. What "
            "does it add after `open ... w`?"
        ),
        choices=(
            Choice(
                "It raises file and lowers door.",
                "What is written depends on the source alone, and `open` has to raise "
                "both.",
            ),
            Choice(
                "It raises file and door.",
                "One row of the OV circuit, that of `open`, serves both destinations. "
                "How strongly depends on the destination, what does not.",
            ),
            Choice(
                "It raises file only, if it was trained for long.",
                "No training changes the form: attention times one row.",
            ),
        ),
        right=1,
        about=(
            "crossed_trigrams",
            "skip_trigram_lift",
        ),
    ),
    Recall(
        name="fixed_patterns",
        question=(
            "Why are the attention patterns frozen before a model is split into paths?"
        ),
        choices=(
            Choice(
                "Because patterns do not matter for what the model predicts.",
                "They matter much. Frozen patterns are those of the run that is to be "
                "explained.",
            ),
            Choice(
                "Because the rest is linear, and multiplies out.",
                "The softmax is the step that does not multiply out. Freezing hides "
                "how the patterns came about, and that has to be asked separately.",
            ),
            Choice(
                "Because it is faster.",
                "It takes a second run, so it is slower.",
            ),
        ),
        right=1,
        about=("frozen_pattern_logits",),
    ),
    Recall(
        name="attention_is_shared",
        question=(
            "A source's effect on an output is measured in two texts that have the "
            "same destination. In one of them it is half as large. Must there be an "
            "error?"
        ),
        choices=(
            Choice(
                "Yes: a head adds a fixed amount for each source and destination.",
                "It would if attention were not shared out. The softmax divides it "
                "among all tokens of the text.",
            ),
            Choice(
                "No: distance and company change its attention.",
                "What the source writes, given its attention, is fixed. How much "
                "attention is left for it is not.",
            ),
            Choice(
                "Yes, unless the model was retrained in between.",
                "The same weights give different attention in different texts.",
            ),
        ),
        right=1,
        about=(
            "skip_trigram_lift",
            "circuit_lift",
        ),
    ),
)
