"""Chapter 4: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_two_models",
        question=(
            "Why does this chapter show every result on two trained models and an "
            "untrained one?"
        ),
        answer=(
            "What a model learns depends on its text, and one of the two has seen "
            "repeated noise. What both show does not rest on the repeats alone. What "
            "the untrained one shows as well is no result of learning."
        ),
    ),
    Words(
        name="words_all_paths",
        question=(
            "How are the logits of a two-layer model split into paths, and what does "
            "this view hide?"
        ),
        answer=(
            "In each layer a path takes one head or none. So there are the direct "
            "path, one for each head, and one for each pair. They sum to the logits "
            "exactly, with the patterns held. Hidden is how layer 0 helped to make the "
            "patterns of layer 1."
        ),
    ),
    Words(
        name="words_virtual_heads",
        question=(
            "What is a virtual head, what are its pattern and its OV matrix, and what "
            "does it lack?"
        ),
        answer=(
            "Two heads one after the other, taken as one. Its pattern is the product "
            "of the two patterns, the later on the left, and its OV matrix the product "
            "of the two. It has no weights of its own and cannot be trained apart from "
            "its makers."
        ),
    ),
    Words(
        name="words_score_parts",
        question=(
            "Of what is a score of a layer-1 head the sum, and when does one part of "
            "it matter?"
        ),
        answer=(
            "Query and key are each a sum: token, position, and what each head of "
            "layer 0 wrote. A score is the sum over all pairs of parts. A part matters "
            "for where the head looks if it varies over the keys; what is the same for "
            "all keys drops out."
        ),
    ),
    Words(
        name="words_composition",
        question=(
            "What are Q-, K- and V-composition, and what has a composition score to be "
            "compared with?"
        ),
        answer=(
            "The later head reads what the earlier one wrote into its query, its key "
            "or its value. The first two change where it looks, the third what it "
            "carries. Random heads score about one over the root of d_model, with a "
            "spread. A score below that does not mean that a pair is idle."
        ),
    ),
    Words(
        name="words_wrong_figure",
        question=(
            "What was the mistake in the figure, why did checks by eigenvalues not "
            "find it, and which check would have?"
        ),
        answer=(
            "A factor of a product was moved from one end to the other, which leaves "
            "trace and eigenvalues as they are and changes the Frobenius norm. A check "
            "of what the matrix does, or a change of W_Q and W_K that leaves their "
            "product alone, shows it at once."
        ),
    ),
    Words(
        name="words_worth",
        question=(
            "Pairs of heads bring few nats with held patterns. Why is it wrong to "
            "conclude that layer 0 hardly matters?"
        ),
        answer=(
            "Held patterns keep everything that layer 0 did for the patterns of layer "
            "1, so this part is not counted. If layer 0 is silenced and the patterns "
            "are computed anew, much more is lost where finding the place is what "
            "counts."
        ),
    ),
    Words(
        name="words_resting",
        question=(
            "Why do many heads look at the first token, and what does weighting by "
            "value size show?"
        ),
        answer=(
            "A row sums to 1, so a head with nothing to do has to look somewhere. If "
            "the value there is small, looking moves little. Attention times the size "
            "of the value lets such resting fade, within one head."
        ),
    ),
)
