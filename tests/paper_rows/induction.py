"""The rows of In-context Learning and Induction Heads, as far as small models go."""

from tests.paper_rows import Section, measured, taught

__all__ = ["SECTIONS"]

CONCEPTS = "Key Concepts"
FIRST = "Argument 1: co-occurrence"
THIRD = "Argument 3: ablation"
METHODS = "Models and methods"

SECTIONS = (
    Section(
        CONCEPTS,
        "In-context learning",
        (
            measured("O-02", "ch6-007", "ch6-009"),
            measured("O-03", "ch6-040", "ch6-041"),
        ),
    ),
    Section(CONCEPTS, "Induction heads", (measured("O-01", "ch5-020", "ch5-026"),)),
    Section(
        FIRST,
        "The phase change",
        (
            measured("O-04", "ch6-037", "ch6-044"),
            measured("O-05", "ch6-043", "ch6-045"),
            measured("O-06", "ch6-047", "ch6-048"),
            measured("O-07", "ch6-043", "ch6-041"),
            measured("O-08", "ch6-049", "ch6-054"),
            measured("O-09", "ch6-057", "ch6-058"),
            measured("O-10", "ch6-047"),
            measured("O-11", "ch6-061", "ch6-062"),
        ),
    ),
    Section(
        "Argument 2: co-perturbation",
        "Smeared keys",
        (
            measured("O-20", "ch6-066", "ch6-068"),
            measured("O-21", "ch6-070", "ch6-071"),
        ),
    ),
    Section(
        THIRD,
        "Taking heads out",
        (
            measured("O-30", "ch4-085"),
            measured("O-31", "ch4-087", "ch0-064"),
            # No cell: every head of two models is left out in turn, on many rows.
            measured("O-32"),
            # No cell: it is read off the losses of tokens that kept trainings recorded.
            measured("O-33"),
        ),
    ),
    Section(
        "Argument 4: generality by examples",
        "Heads of large models",
        (measured("O-52", "ch6-088", "ch5-098", "ch7-062", "ch7-t03"),),
    ),
    Section(
        "Argument 5: the mechanism",
        "Why one layer cannot",
        (measured("O-53", "ch5-026", "ch5-054"),),
    ),
    Section(
        METHODS,
        "Scores of heads",
        (
            measured("O-40", "ch5-020", "ch5-008", "ch5-027"),
            measured("O-41", "ch5-037", "ch5-038"),
            measured("O-42", "ch5-043", "ch5-044"),
            measured("O-43", "ch5-066", "ch5-063"),
        ),
    ),
    Section(
        METHODS,
        "Models and their trainings",
        (
            measured("O-44", "ch6-082", "ch6-083"),
            taught(
                "O-50",
                "ch6-089",
                "Models of one to six layers, contexts of 8,192 tokens, 10,000 steps, "
                "200 snapshots, one run of each.",
                "Facts about the paper's trainings. The cell puts ours beside them.",
            ),
            taught(
                "O-51",
                "ch6-088",
                "34 models and over 50,000 ablations of heads; the evidence is strong "
                "and causal for small models with attention only.",
                "A summary of the paper's own evidence.",
            ),
            measured("O-54", "ch6-079", "ch6-080"),
        ),
    ),
)
