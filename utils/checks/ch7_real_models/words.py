"""Chapter 7: what each section asks for in one's own words."""

from utils.checks import Words

__all__ = ["WORDS"]


WORDS = (
    Words(
        name="words_what_is_new",
        question=(
            "What do these models have that those of the earlier chapters lack, and "
            "which of it changes the algebra?"
        ),
        answer=(
            "MLPs, norms, biases, in some of them rotary positions and shared keys. "
            "Weights and biases of a norm fold away and shared keys are bookkeeping. "
            "The division by a size, rotary positions and the MLPs' nonlinearity do "
            "not become fixed matrices."
        ),
    ),
    Words(
        name="words_folding",
        question=(
            "Which parts of a norm can be folded into weights, and which cannot?"
        ),
        answer=(
            "The gain, the bias and the taking off of the mean are linear and go into "
            "the matrices that read or write. The division by the vector's own size "
            "depends on the text, so no fixed matrix holds it."
        ),
    ),
    Words(
        name="words_grouped",
        question=(
            "What changes when heads share keys and values, and what follows for what "
            "is written into a key?"
        ),
        answer=(
            "Each head keeps its own W_Q and W_O, so a copy of the shared matrices for "
            "each head brings back the usual circuits. Whatever enters one head's keys "
            "enters those of its whole group."
        ),
    ),
    Words(
        name="words_mlps",
        question=(
            "How far can a path be followed into an MLP, and what does taking all MLPs "
            "away show?"
        ),
        answer=(
            "Up to the nonlinearity: what enters it is an exact sum over all that was "
            "written. Behind it there is no sum over what entered. If the model fails "
            "without MLPs, paths through heads alone do not make its predictions; that "
            "says nothing about single circuits."
        ),
    ),
    Words(
        name="words_every_head",
        question=(
            "With what has a head's prefix-matching score to be compared before it is "
            "believed?"
        ),
        answer=(
            "With another draw of random tokens, with rows that do not repeat but are "
            "scored as if, with text, with and without the first position, and with "
            "the other heads. A score is a statement about a head and a text."
        ),
    ),
    Words(
        name="words_circuit",
        question=(
            'How was the sender chosen, and which tests stand between "it is strongly '
            'connected" and "the keys need it"?'
        ),
        answer=(
            "By composition scores from weights alone. Then it is cut, beside other "
            "heads that should matter less, to zero and to the mean. Last, it is left "
            "in place and hidden from one input at a time, keys, queries, values or "
            "MLPs, and only the narrow cut says which way its news takes."
        ),
    ),
    Words(
        name="words_carry_over",
        question=(
            "Why may a copying score that was right in two layers mislead in a deeper "
            "model?"
        ),
        answer=(
            "It follows one path: embedding, head, unembedding. In a deeper model a "
            "head reads what many layers have made of a token, and later layers read "
            "what it writes. It also weighs all tokens alike. So it is a hint, to be "
            "checked by what the head does."
        ),
    ),
    Words(
        name="words_positions",
        question=(
            "How do you decide whether a head gets its news by its keys or by a "
            "pointer in its query?"
        ),
        answer=(
            "Hide the head that looks one back from its keys, and then the head that "
            "looks at earlier copies from its queries. See which of the two ends the "
            "matching. If neither does, several heads may send the same news, or it "
            "may come by MLPs."
        ),
    ),
    Words(
        name="words_own_text",
        question=(
            "What does a text of your own show about the circuit, and what does it not "
            "show?"
        ),
        answer=(
            "That it is at work outside of the test: a name nobody knows is continued, "
            "and less so when the other head is gone. It is one example, so it "
            "measures nothing; a control head belongs beside it."
        ),
    ),
    Words(
        name="words_found_before",
        question=("When may your numbers be compared with published ones?"),
        answer=(
            "When the model, the kind of tokens, the score's definition and the "
            "treatment of the first position are the same. Otherwise a difference may "
            "be due to any of these."
        ),
    ),
)
