// How search results are ordered; Sphinx puts this file before its own search.
// Sphinx counts where a word stands. This adds how well a page's or a section's name
// answers the question, so that a function comes before the pages that mention it.

if (location.protocol === "file:") {
  // A page opened from a disk may not read the others to show a summary.
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

const nameWords = (text) => {
  const words = text.toLowerCase().match(/\p{L}+|\p{N}+/gu) || [];
  const stemmer = new Stemmer();
  return [...new Set(words.map((word) => stemmer.stemWord(word)))];
};

const asked = () =>
  nameWords(new URLSearchParams(window.location.search).get("q") || "");

var Scorer = {
  // [docname, title, anchor, descr, score, filename]
  score: ([docname, title, anchor, , score]) => {
    const wanted = asked();
    const name = nameWords(title.split(" > ").pop());
    const found = wanted.filter((word) => name.includes(word)).length;
    if (!found) return score;
    const asks = found / wanted.length;
    const fits = found / name.length;
    const tool = docname.startsWith("reference/") && !anchor ? 6 : 0;
    return score + 40 * asks * (0.5 + 0.5 * fits) + tool;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
