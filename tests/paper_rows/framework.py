"""The rows of A Mathematical Framework for Transformer Circuits, by its sections.

Over 400 lines: it is one table.
"""

from tests.paper_rows import Section, left_out, measured, taught

__all__ = ["SECTIONS"]

OVERVIEW = "Transformer Overview"
ONE = "One-Layer Attention-Only Transformers"
TWO = "Two-Layer Attention-Only Transformers"
AFTER = "Where Does This Leave Us?"
MORE = "Additional Intuition and Observations"
DETAILS = "Technical Details"

SECTIONS = (
    Section(
        "Summary of Results",
        "Reverse Engineering Results",
        (
            taught(
                "F-01",
                "ch0-083",
                "Looked at are transformers of at most two layers with attention only; "
                "GPT-3, beside them, has 96 layers, half of each an MLP.",
                "It says what the paper looks at and is no result.",
            ),
            taught(
                "F-02",
                "ch2-052 ch2-010",
                "A model without layers holds bigram statistics, as a table that can "
                "be read from its weights.",
                "A summary: F-40 to F-43 are its parts, and each is measured.",
            ),
            taught(
                "F-03",
                "ch3-105 ch3-104",
                "One layer of attention is an ensemble of bigrams and skip-trigrams, "
                "readable from weights, copying among them.",
                "A summary: F-50 to F-72 are its parts. F-73 measures the objection.",
            ),
            taught(
                "F-04",
                "ch5-098 ch4-098",
                "Two layers compose their heads and build induction heads, which can "
                "be found from weights.",
                "A summary: F-80 to F-113 are its parts, and each is measured.",
            ),
            measured("F-05", "ch5-015", "ch5-016", "ch5-017"),
            measured("F-06", "ch5-021", "ch5-026"),
        ),
    ),
    Section(
        "Summary of Results",
        "Conceptual Take-Aways",
        (
            taught(
                "F-07",
                "ch1-098",
                "Seven ideas to keep: heads add up, logits are sums over paths, much "
                "is linear, QK and OV circuits, keys and values are means to an end, "
                "three compositions, subspaces of the stream.",
                "A list of ideas. Each has rows of its own below.",
            ),
        ),
    ),
    Section(
        OVERVIEW,
        "Model Simplifications",
        (measured("F-10", "ch1-098", "ch0-083"),),
    ),
    Section(OVERVIEW, "High-Level Architecture", (measured("F-11", "ch0-039"),)),
    Section(
        OVERVIEW,
        "Virtual Weights and the Residual Stream as a Communication Channel",
        (
            measured("F-12", "ch1-010", "ch1-012", "ch1-018"),
            measured("F-13", "ch1-041", "ch1-043", "ch1-045"),
            measured("F-14", "ch1-079", "ch1-083"),
            measured("F-15", "ch1-086", "ch1-087", "ch1-089"),
            measured("F-16", "ch1-096", "ch1-097"),
        ),
    ),
    Section(
        OVERVIEW,
        "Attention Heads are Independent and Additive",
        (measured("F-17", "ch1-014", "ch0-057"),),
    ),
    Section(
        OVERVIEW,
        "Attention Heads as Information Movement",
        (
            measured("F-18", "ch0-055", "ch1-009"),
            measured("F-19", "ch1-061", "ch1-064", "ch1-067"),
            measured("F-20", "ch0-046", "ch1-034", "ch1-036"),
            measured("F-21", "ch3-018"),
            measured("F-22", "ch1-047", "ch1-048", "ch1-028"),
            measured("F-23", "ch1-028"),
            taught(
                "F-24",
                "ch1-071 ch0-072",
                "The pattern is the only thing about a head that is not linear.",
                "The cell shows it on the reader's own machine, and F-56 measures the "
                "same on the logits.",
            ),
            measured("F-25", "ch1-074", "ch4-021"),
        ),
    ),
    Section(
        "Zero-Layer Transformers",
        "Zero-Layer Transformers",
        (
            measured("F-40", "ch2-019", "ch2-045"),
            measured("F-41", "ch2-015", "ch2-030", "ch2-037"),
            measured("F-42", "ch2-028", "ch2-023"),
            measured("F-43", "ch2-051", "ch2-052"),
        ),
    ),
    Section(
        ONE,
        "The Path Expansion Trick",
        (
            measured("F-50", "ch3-011", "ch3-012", "ch3-010"),
            measured("F-51", "ch3-015", "ch3-016"),
        ),
    ),
    Section(
        ONE,
        "Splitting Attention Head terms into Query-Key and Output-Value Circuits",
        (
            measured("F-52", "ch3-024", "ch3-026"),
            measured("F-53", "ch3-017", "ch3-022"),
            taught(
                "F-54",
                "ch3-101 ch3-019",
                "A drawing: the QK circuit as a path from token to token, the OV "
                "circuit as one from token to logit.",
                "A drawing. The chapter has its own, made from the model.",
            ),
            measured("F-55", "ch3-022", "ch3-023"),
            measured("F-56", "ch3-008", "ch3-009"),
        ),
    ),
    Section(
        ONE,
        "Interpretation as Skip-Trigrams",
        (
            measured("F-57", "ch3-039", "ch3-043"),
            measured("F-58", "ch3-018"),
            measured("F-59", "ch3-026", "ch3-027", "ch3-045"),
            measured("F-60", "ch3-119", "ch3-052"),
        ),
    ),
    Section(
        ONE,
        "Copying / Primitive In-Context Learning",
        (
            measured("F-61", "ch3-054", "ch3-053"),
            measured("F-62", "ch3-054", "ch3-039"),
            left_out(
                "F-63",
                "Two rows of the paper's table of copied tokens come from LaTeX and "
                "from HTML, where a name comes back after a sign that announces it.",
                "The shipped models read Python and nothing else. A row for each would "
                "need another training text.",
            ),
            measured("F-64", "ch3-056", "ch3-121"),
            measured("F-65", "ch3-053", "ch3-055"),
        ),
    ),
    Section(
        ONE,
        "Other Interesting Skip-Trigrams",
        (measured("F-66", "ch3-058", "ch3-063", "ch3-065"),),
    ),
    Section(
        ONE,
        "Primarily Positional Attention Heads",
        (measured("F-67", "ch3-030", "ch3-033", "ch3-035"),),
    ),
    Section(
        ONE,
        "Skip-Trigram Bugs",
        (
            measured("F-72", "ch3-083", "ch3-086", "ch3-090"),
            measured("F-73", "ch3-096", "ch3-098", "ch3-104"),
        ),
    ),
    Section(
        ONE,
        "Summarizing OV/QK Matrices",
        (
            measured("F-68", "ch3-073", "ch3-070"),
            measured("F-69", "ch3-075", "ch3-076"),
            measured("F-70", "ch3-071", "ch3-072"),
            measured("F-71", "ch3-077", "ch3-079", "ch3-080"),
            # No cell: the claim trains three models for it.
            measured("F-74"),
        ),
    ),
    Section(
        ONE,
        "Do We Fully Understand One-Layer Models?",
        (
            taught(
                "F-75",
                "ch3-099",
                "A one-layer model is understood as a giant regression or a database "
                "is: no step is a riddle, and it is too large for a head.",
                "A stance about what it is to understand something.",
            ),
        ),
    ),
    Section(
        TWO,
        "Three Kinds of Composition",
        (
            measured("F-80", "ch4-041", "ch4-043", "ch4-045"),
            measured("F-85", "ch4-039", "ch4-049", "ch4-051"),
        ),
    ),
    Section(
        TWO,
        "Path Expansion of Logits",
        (measured("F-81", "ch4-009", "ch4-011"), measured("F-132", "ch4-018")),
    ),
    Section(
        TWO,
        "Path Expansion of Attention Scores QK Circuit",
        (measured("F-82", "ch4-028", "ch4-029"), measured("F-83", "ch4-028")),
    ),
    Section(
        TWO,
        "Analyzing a Two-Layer Model",
        (
            measured("F-84", "ch4-055", "ch4-054", "ch7-044", "ch7-055"),
            taught(
                "F-86",
                "ch4-064 ch4-065 ch4-066",
                "The figure of 12 by 12 heads, in which one head of the first layer "
                "has nearly all K-composition.",
                "The figure was made with a wrong formula. The chapter draws ours both "
                "ways, and F-87 measures the difference.",
            ),
            measured("F-87", "ch4-062", "ch4-071", "ch4-073"),
            measured("F-88", "ch4-059"),
            measured("F-89", "ch4-091", "ch4-092"),
            taught(
                "F-90",
                "ch4-060",
                "Layers count from 0 in the labels of the figures and from 1 in the "
                "text.",
                "A matter of naming.",
            ),
        ),
    ),
    Section(
        TWO,
        "Induction Heads",
        (
            measured("F-100", "ch5-027", "ch5-025"),
            measured("F-101", "ch5-103", "ch5-104"),
            measured("F-102", "ch5-031", "ch5-033", "ch5-035"),
            measured("F-103", "ch5-008", "ch5-029"),
            measured("F-104", "ch5-041", "ch5-110"),
        ),
    ),
    Section(
        TWO,
        "How Induction Heads Work",
        (
            measured("F-105", "ch5-054", "ch5-057", "ch5-051"),
            measured("F-106", "ch5-061", "ch5-100"),
            measured("F-107", "ch6-077", "ch6-078", "ch7-070", "ch7-055"),
            # No cell: chapters switch gradients off.
            measured("F-112"),
        ),
    ),
    Section(
        TWO,
        "Checking the Mechanistic Theory",
        (
            measured("F-108", "ch5-066", "ch5-067"),
            measured("F-109", "ch5-068", "ch5-073", "ch5-069"),
            measured("F-110", "ch5-068", "ch5-038"),
            measured("F-111", "ch5-071"),
        ),
    ),
    Section(
        TWO,
        "Term Importance Analysis",
        (
            measured("F-120", "ch4-076"),
            measured("F-121", "ch4-077", "ch4-080"),
            measured("F-122", "ch4-081", "ch4-082", "ch4-083"),
            measured("F-123", "ch4-085", "ch4-087", "ch4-089"),
            taught(
                "F-124",
                "ch4-098",
                "Paths through several heads may be worth more in larger models.",
                "The course's attention-only models have two layers, and F-121 "
                "measures those.",
            ),
        ),
    ),
    Section(
        TWO,
        "Virtual Attention Heads",
        (
            measured("F-130", "ch4-021", "ch4-024"),
            taught(
                "F-131",
                "ch4-026 ch4-025",
                "No head was seen that looks two back, perhaps because virtual heads "
                "do so. Heads are large, and virtual heads are small.",
                "A guess about the paper's own model. The cell looks in ours.",
            ),
        ),
    ),
    Section(
        AFTER,
        "Where Does This Leave Us?",
        (
            taught(
                "F-133",
                "ch1-098 ch7-082",
                "MLPs hold two thirds of a usual transformer's parameters, so at most "
                "a third can be understood in this way; large models do have induction "
                "heads.",
                "A count of parameters that follows from the usual sizes. Chapter 7 "
                "looks for induction heads in a real model.",
            ),
        ),
    ),
    Section(
        "Related Work",
        "Related Work",
        (
            left_out(
                "F-134",
                "The logit lens multiplies the stream between two layers with W_U; the "
                "paper follows every path to the logits instead.",
                "A remark on other work, without a result.",
            ),
            left_out(
                "F-135",
                "Primer's convolution over three positions lets one layer do "
                "induction; talking heads mix the W_OV of several heads.",
                "Both need another architecture. Smeared keys (O-20, chapter 6) show "
                "the first idea in a smaller way.",
            ),
            left_out(
                "F-136",
                "In a masked model such as BERT an induction head would show a term "
                "with the previous-token pattern on both sides.",
                "A remark without a result. The course has no masked model.",
            ),
        ),
    ),
    Section(
        "Comments & Replications",
        "Comments & Replications",
        (
            measured("F-113", "ch5-046", "ch5-049", "ch5-078"),
            taught(
                "F-150",
                "ch1-091 ch1-105",
                "What came after: superposition, neurons of MLPs, more on induction.",
                "A list of later work. Chapter 1 has a section on superposition.",
            ),
            taught(
                "F-151",
                "ch5-118 ch4-022 ch5-095",
                "A set of problems goes with the paper: a virtual head, and induction "
                "in two ways, to be built from weights.",
                "They are problems and no statements. The course has its own exercises "
                "on the same subjects.",
            ),
        ),
    ),
    Section(
        MORE,
        "MLPs, convolutions, bases and pointer arithmetic",
        (
            measured("F-140", "ch7-025", "ch7-026"),
            measured("F-141", "ch7-f02"),
            taught(
                "F-142",
                "ch1-039 ch1-046",
                "Tokens, patterns and the neurons of MLPs have a privileged basis; the "
                "stream and the vectors inside heads have none, and are bottlenecks.",
                "Definitions. F-13 and F-22 measure what follows from them.",
            ),
            measured("F-143", "ch5-095", "ch5-097"),
            measured("F-144", "ch1-068"),
        ),
    ),
    Section(
        "Notation",
        "Notation",
        (
            taught(
                "F-145",
                "ch0-040 ch0-041",
                "The paper's letters and their shapes; two are used in two ways.",
                "A table of names. The cell below it asserts every line.",
            ),
            taught(
                "F-146",
                "ch1-066 ch1-065 ch1-110",
                "Rules of the tensor product: which side is which, how products of "
                "products go, and what A ⊗ W does to a stream.",
                "Identities. The cell checks all four with numbers.",
            ),
        ),
    ),
    Section(
        DETAILS,
        "Model Details",
        (
            taught(
                "F-147",
                "ch1-099 ch0-083",
                "Twelve heads of 64 dimensions, one model with 32 of 128; 2,048 "
                "tokens; positions added just before W_Q and W_K.",
                "Facts about the paper's models. The cell puts ours beside them.",
            ),
        ),
    ),
    Section(
        DETAILS,
        "Handling Layer Normalization",
        (measured("F-148", "ch7-013", "ch7-015"),),
    ),
    Section(
        DETAILS,
        "Working with Low-Rank Matrices",
        (measured("F-149", "ch3-067", "ch3-068", "ch3-070"),),
    ),
)
