"""Chapter 5: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_clean_test",
        question=(
            "Why test induction on repeated random tokens, and what has a loss on them "
            "to be compared with?"
        ),
        answer=(
            "Nothing in them can be guessed, so the second copy can only be known by "
            "looking up the first. Beating chance is not enough: knowing which tokens "
            "are around does that. Compare with the bound for who knows the set, at "
            "several spans, and the second copy with the first."
        ),
    ),
    Words(
        name="words_where",
        question=(
            "Where does an induction head look, and why is it not the earlier copy of "
            "the present token?"
        ),
        answer=(
            "At the token after that copy. There stands what came next the last time, "
            "and that is worth copying. The copy itself is the token that the head has "
            "already."
        ),
    ),
    Words(
        name="words_writes",
        question=(
            "Which two things does an induction head have to do, and how is each of "
            "them scored?"
        ),
        answer=(
            "It finds the right place, and it raises the logit of what stands there. "
            "The first is attention to the token after an earlier copy. The second is "
            "its direct effect on the right logit, or how much of what it would raise "
            "is its source's own token."
        ),
    ),
    Words(
        name="words_kept_out",
        question=(
            "What do kept-out tokens and made-up tokens say about whether the heads "
            "know a rule or a list?"
        ),
        answer=(
            "With tokens never repeated in training both finding and copying get "
            "worse, alike. Tokens with made-up vectors that nothing was trained on are "
            "mostly found and copied. So it is a rule, which works for vectors that "
            "lie where the heads look and write."
        ),
    ),
    Words(
        name="words_finds",
        question=(
            "How do two heads together find the place, and how can one prove which "
            "connection carries it?"
        ),
        answer=(
            "A head of layer 0 writes into each position which token stood before. The "
            "induction head's query is the present token and meets this in the key. "
            "Hide the first head from queries, keys and values, one at a time: if only "
            "the keys' cut ends induction, it is K-composition."
        ),
    ),
    Words(
        name="words_from_weights",
        question=(
            "Which three conditions name an induction head from weights alone, and why "
            "is strong composition not one that suffices?"
        ),
        answer=(
            "A head below it looks one back. It copies, by the eigenvalues of its OV "
            "circuit. It matches, by the eigenvalues through QK and the other head's "
            "OV, strongly enough to win. A composition score is a norm and has no "
            "sign: a head that avoids the place could score as high."
        ),
    ),
    Words(
        name="words_not_explained",
        question=(
            "What does it mean that an ideal pattern recovers a certain share, and "
            'what does the name "induction head" not say?'
        ),
        answer=(
            "Put the pattern of the simple story in place of the head's own. The share "
            "says how much of what the head is worth the story keeps, so it has to be "
            "read with what is at stake. The name does not say that the head does "
            "nothing else."
        ),
    ),
    Words(
        name="words_build",
        question=(
            "With which two heads would you build induction by hand, and what does "
            "each need of the stream?"
        ),
        answer=(
            "One looks one back by position and writes the token found there into "
            "directions of its own. The other asks with its own token, finds it among "
            "those directions, and copies the token that stands there. So own token, "
            "previous token and position need room apart, and there must be a place to "
            "rest."
        ),
    ),
    Words(
        name="words_pointer",
        question=(
            "How does induction by pointer differ from induction by previous token, "
            "and how can one tell them apart?"
        ),
        answer=(
            "A first head fetches the position of the earlier copy, and the second "
            "asks for the position after it. So the news is in the query, not in the "
            "key. Both predict alike; cutting single edges tells which it is."
        ),
    ),
)
