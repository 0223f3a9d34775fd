// The page of an explorer that can be clicked: what carries data-pick tells Python its
// name, by the mouse and, where the Tab key reaches it, by Enter and Space.

function render({ model, el }) {
  const draw = () => {
    const focused = el.contains(document.activeElement)
      ? document.activeElement.dataset.pick
      : undefined;
    el.innerHTML = model.get("value");
    // A picture is one thing to a screen reader, and hides the parts one can choose.
    for (const svg of el.querySelectorAll('svg[role="img"]:has([tabindex])'))
      svg.setAttribute("role", "group");
    if (focused === undefined) return;
    el.querySelector(`[tabindex][data-pick="${CSS.escape(focused)}"]`)?.focus();
  };
  const tell = (event) => {
    const part = event.target.closest("[data-pick]");
    if (part === null) return;
    event.preventDefault();
    model.send({ pick: part.dataset.pick });
  };
  el.addEventListener("click", tell);
  el.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") tell(event);
  });
  model.on("change:value", draw);
  draw();
}

export default { render };
