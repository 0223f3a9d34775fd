"""`python3 -m utils solution NAME | WORDS`: one function, or those that words fit."""

import ast
import shutil
import sys
import textwrap
from functools import cache

from utils.checks import is_exercise
from utils.launcher import library
from utils.launcher.ranking import ranked, stems

__all__ = ["ALSO_CALLED", "SHOWN", "fields", "find", "main", "row_fields"]

SHOWN = 8
# What the same thing is called elsewhere.
ALSO_CALLED = {
    "ablate_edge": "path patching, edge patching, causal tracing, indirect effect",
    "ablate_head": "zero ablation, mean ablation, resample ablation, knockout",
    "attention_pattern": "attention weights, attention probabilities, softmax",
    "bigram_log_probs": "n-gram statistics, counts, smoothing",
    "build_induction_model": "hand-written weights, hand-coded, compiled transformer",
    "build_pointer_model": "positional induction, position arithmetic",
    "circuit_lift": "expected attention, unigram frequencies, prior",
    "composition_graph": "composition of all pairs of heads",
    "composition_score": "Frobenius norm, subspace overlap, read and write",
    "copying_score": "copying eigenvalues, positive eigenvalues, heads that copy",
    "copying_scores": "copying eigenvalues of all heads",
    "copying_top1": "rank of a token's own logit, heads that copy",
    "cyclic_composition_score": "erratum, bug of the composition figure",
    "decompose_residual": "residual stack, accumulated residual, logit lens",
    "direct_path": "bigram table, W_E W_U, embedding times unembedding",
    "feature_interference": "superposition, orthogonality, anisotropy",
    "fold_layer_norm": "LayerNorm, RMSNorm, processed weights, center writing weights",
    "frozen_pattern_logits": "linear attention, freezing patterns, fixed patterns",
    "full_ov_circuit": "token to logit table",
    "full_qk_circuit": "token to token table, bilinear form on tokens",
    "grouped_heads": "grouped query attention, GQA, key-value heads, repeat kv",
    "head_as_tensor_product": "Kronecker product, attention as tensor product",
    "head_outputs": "result, hook_result, attn_out per head, what a head writes",
    "ideal_pattern_recovery": "idealised pattern, hard-coded pattern, explained loss",
    "in_context_learning_score": "ICL score, token 500 minus token 50",
    "induction_heads_from_weights": "weights only, without data, head detector",
    "induction_scores": "head detector, duplicate token heads, first token, sink",
    "kneser_ney_loss": "n-gram baseline, interpolated smoothing",
    "logit_attribution": "direct logit attribution, DLA, direct effect, logit lens",
    "logit_effect": "direct effect of one head",
    "loss_by_log_position": "loss by token index, power law of context",
    "loss_trajectory": "PCA, principal components, function space",
    "marginal_effect": "importance of heads, added loss",
    "mlp_path_terms": "neurons, preactivation, hidden layer of an MLP",
    "ov_eigenvalues": "eigenvalues of the OV circuit, spectrum",
    "ov_matrix": "what a head writes, value and output weights",
    "pattern_preserving_ablation": "frozen attention, direct effect",
    "per_token_loss": "cross entropy by position, surprisal, perplexity",
    "phase_change_step": "phase transition, sudden drop, grokking, bump",
    "positional_pattern": "attention by position alone, position information",
    "positional_share": "position information, explained variance",
    "prefix_matching_score": "induction score, induction stripe, diagonal, "
    "induction heads",
    "previous_token_score": "offset heads, diagonal below the main one",
    "previous_token_weights": "previous-token head from weights, without data",
    "qk_matrix": "bilinear form, query and key weights",
    "random_composition": "baseline, null, chance",
    "repeat_loss": "loss of repeats, second copy, second occurrence, induction loss",
    "repeated_tokens": "repeated random sequence, noise, synthetic data",
    "reparametrise_head": "gauge freedom, symmetry, invariance, invertible change",
    "replace_pattern": "activation patching, patching a pattern, swap of patterns, "
    "uniform attention",
    "rotate_basis": "privileged basis, basis independence, gauge freedom",
    "same_matching_score": "induction by weights, token matching",
    "scores_from_qk": "bilinear form, attention logits",
    "skip_trigram_lift": "bug of skip-trigrams, wrong combinations, counterfactual",
    "smear_keys": "smeared key, shift keys, interpolated keys",
    "source_token_effect": "corrupted token, intervention on text, counterfactual",
    "svd_of_product": "singular values, low rank, factored matrix",
    "term_importance": "virtual heads' importance, path order",
    "top_ov_pairs": "strongest token pairs, top entries, large vocabulary",
    "top_skip_trigrams": "strongest token pairs, token triples, bugs",
    "two_layer_path_terms": "path expansion, sum over paths",
    "one_layer_path_terms": "path expansion, sum over paths",
    "value_weighted_pattern": "attention sink, norm of values, start token",
    "virtual_head": "composed attention, product of patterns, indirect effect",
}
# Name, other names, summary, section of the chapter, details, mistakes.
WEIGHTS = (6.0, 4.0, 3.0, 1.5, 1.0, 0.5)


# --- functions ----------------------------------------------------------------------


def find(question: str) -> list[library.Function]:
    """The functions that words fit, best first."""
    by_name = {each.name: each for each in library.functions()}
    found = [by_name[name] for name in ranked(question, _functions())]
    # Whoever types a name with other spaces or endings means that function.
    return sorted(found, key=lambda each: stems(each.name) != stems(question))


@cache
def _functions() -> dict[str, tuple[tuple[str, float], ...]]:
    return {each.name: fields(each) for each in library.functions()}


def fields(each: library.Function) -> tuple[tuple[str, float], ...]:
    """What a function is found by: texts, each with its weight."""
    texts = (
        each.name,
        ALSO_CALLED.get(each.name, ""),
        each.summary,
        each.cell.section if each.cell else "",
        " ".join(each.details) + " " + each.limits,
        _mistakes(each),
    )
    return tuple(zip(texts, WEIGHTS, strict=True))


def row_fields(each: library.Statement) -> tuple[tuple[str, float], ...]:
    """What a row of the papers is found by: what it says first, then where and how."""
    named = [f"{name} {ALSO_CALLED.get(name, '')}" for name in each.functions]
    claimed = []
    for claim in each.claims:
        claimed += [
            claim.statement,
            claim.paper,
            *(words for words, _ in claim.conditions),
        ]
    return (
        (each.says, 2.0),
        (" ".join(claimed), 1.0),
        (each.section, 1.0),
        (" ".join(named), 0.3),
    )


def _mistakes(each: library.Function) -> str:
    """The words of a check's mistakes, read from its file: nothing has to load."""
    path = library.ROOT / "utils" / "checks" / each.chapter / f"{each.name}.py"
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Mistake"
    ]
    texts = [word for call in calls for word in call.args if _is_text(word)]
    return " ".join(word.value for word in texts)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _lines(each: library.Function, width: int) -> list[str]:
    place = f"chapter {each.chapter[2]}"
    if each.cell:
        place += f", {each.cell.section}"
    words = textwrap.wrap(each.summary, width - 4)
    line = f"from solutions.{each.chapter} import {each.name}"
    return [f"{each.name}  ({place})", *(f"    {w}" for w in words), f"    {line}", ""]


def main(argv: list[str]) -> int:
    """Show the solution of this name, else list what the words fit."""
    question = " ".join(argv)
    if not question:
        print("Usage: python3 -m utils solution NAME, or words", file=sys.stderr)
        return 2
    if is_exercise(question):
        from utils.exercises import engine  # loads torch, which a list does not need

        engine.solution(question)
        return 0
    found = find(question)
    if not found:
        names = ", ".join(each.name for each in library.functions())
        print(f"Nothing fits {question!r}. There are: {names}.", file=sys.stderr)
        return 2
    width = min(shutil.get_terminal_size((88, 24)).columns, 100)
    for each in found[:SHOWN]:
        print("\n".join(_lines(each, width)))
    print(f"python3 -m utils solution {found[0].name} shows how it is done.")
    return 0
