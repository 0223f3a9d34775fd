"""Chapter 3: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_one_layer_paths",
        question=(
            "Of which paths are the logits of a one-layer model the sum, and what can "
            "each kind of path hold?"
        ),
        answer=(
            "The direct path from the embedding to the logits, which sees the present "
            "token and can hold bigrams only. And one path for each head, which brings "
            "what stands elsewhere: a pattern over positions times a table from source "
            "to output."
        ),
    ),
    Words(
        name="words_two_matrices",
        question=(
            "What do the full QK and the full OV circuit of a head say, and how do you "
            "test that an OV circuit is right?"
        ),
        answer=(
            "QK says how much a query token wants a key token, OV what attending to a "
            "source adds to every logit. Force the head onto one position: the logits "
            "must change by the row of the token that stands there. That tests what "
            "the matrix does."
        ),
    ),
    Words(
        name="words_positional",
        question=(
            "Why should one ask first whether a head looks by position, and how is it "
            "measured?"
        ),
        answer=(
            "A head that looks by position has little to tell by its token QK circuit. "
            "Average its scores over many texts: what remains comes from position. "
            "With few texts chance remains too, so the same model without position "
            "vectors is the floor."
        ),
    ),
    Words(
        name="words_planted",
        question=(
            "What is a skip-trigram, and why read them first in a made-up language?"
        ),
        answer=(
            "Source, any gap, destination, output: the destination looks at the source "
            "and the output is raised. In a made-up language it is known which ones "
            "are there, so a way of reading can be judged by how many it finds, beside "
            "a model that was never trained."
        ),
    ),
    Words(
        name="words_reading",
        question=(
            "Why may raw scores of two queries not be compared, and what does a lift "
            "do about it?"
        ),
        answer=(
            "Every query's row has a constant of its own that the softmax takes out. A "
            "lift measures a score from what a typical text would draw of this query's "
            "attention. It depends on the data, by how often each token occurs."
        ),
    ),
    Words(
        name="words_testing",
        question=(
            "When does a reading from weights stand, and why is an interval above 0 "
            "not enough?"
        ),
        answer=(
            "Take the source out of real text and see how much the output loses. Many "
            "tokens help a little, since each says what kind of text it is. So the "
            "effect has to be larger than those of nearly all other sources at the "
            "same places, too."
        ),
    ),
    Words(
        name="words_copying",
        question=("What do eigenvalues say about copying, and what do they not say?"),
        answer=(
            "Positive ones are mixtures of tokens that raise themselves, and their sum "
            "is the sum of the diagonal. That is a statement about all tokens "
            "together. A single token may still lower its own logit. So look at the "
            "diagonal, and compare with random heads."
        ),
    ),
    Words(
        name="words_bugs",
        question=(
            "Why must a head that has learned two rules with one source make a "
            "skip-trigram bug?"
        ),
        answer=(
            "What it writes is one row of the OV circuit, that of the source, at every "
            "destination. The destination decides only how much of the row arrives. So "
            "where it raises the one output it raises the other one too."
        ),
    ),
    Words(
        name="words_ensemble",
        question=(
            "Is a one-layer model an ensemble of skip-trigrams? Say what speaks for it "
            "and what against."
        ),
        answer=(
            "For it: the sign and much of the size of an effect follow from attention "
            "times the OV row, and can be tested. Against: attention is shared out, so "
            "a source's effect depends on how far away it is and on what else stands "
            "there. As a first reading it is good; as an exact statement it is wrong."
        ),
    ),
)
