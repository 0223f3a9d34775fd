// On the search page: functions, rows, terms and sections come first, ranked as
// `python3 -m utils solution WORDS` ranks. `doors_table.js` says what each word adds.

(() => {
  const { doors, adds, small, endings, shortest } = window.courseDoors;
  const SHOWN = 8;

  function stem(word) {
    const ending = endings.find(
      (end) => word.endsWith(end) && word.length - end.length >= shortest,
    );
    const bare = ending ? word.slice(0, -ending.length) : word;
    return bare.length > shortest && bare.endsWith("y") ? bare.slice(0, -1) : bare;
  }

  function stems(text) {
    const found = text.match(/[\p{L}\p{N}]+/gu) ?? [];
    const hump = /(?<=[a-z])(?=[A-Z])/;
    const words = [...found.flatMap((word) => word.split(hump)), ...found];
    const lower = words.map((word) => word.toLowerCase());
    return new Set(lower.filter((word) => !small.includes(word)).map(stem));
  }

  function ranked(question) {
    const scores = new Map();
    for (const word of stems(question)) {
      const pairs = Object.hasOwn(adds, word) ? adds[word] : [];
      for (let i = 0; i < pairs.length; i += 2)
        scores.set(pairs[i], (scores.get(pairs[i]) ?? 0) + pairs[i + 1]);
    }
    return [...scores].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, SHOWN);
  }

  function shown([number, score]) {
    const [page, title, anchor, kind, says] = doors[number];
    const words = says ? `${kind}: ${says}` : kind;
    return [page, title, anchor, words, score, page, "object"];
  }

  // Sphinx shows its list from the end.
  const sphinx = Search._performSearch;
  Search._performSearch = (question, ...more) => {
    // The words of a question in plain words are no marks to put all over a page.
    localStorage.removeItem("sphinx_highlight_terms");
    const first = ranked(question).map(shown);
    const seen = new Set(first.map(([page, , anchor]) => page + anchor));
    const rest = sphinx(question, ...more).filter((r) => !seen.has(r[0] + r[2]));
    return [...rest, ...first.reverse()];
  };
})();
