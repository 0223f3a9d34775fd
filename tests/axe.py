"""axe-core on a page that is open: what keeps somebody from using it, as sentences.

Called by the browser tests. Looks at what the course puts on a page, not at what
JupyterLab has around it, and brings JupyterLab from one theme to the other.
"""

from axe_playwright_python.sync_playwright import Axe

__all__ = ["GRAVE", "OUTPUTS", "THEMES", "change_theme", "faults"]

GRAVE = ("serious", "critical")
OUTPUTS = ".jp-Notebook .jp-OutputArea-output, .jp-Notebook .jp-RenderedMarkdown"
THEMES = ("JupyterLab Light", "JupyterLab Dark")
# Of the page as a whole, such as its landmarks, the notebook is only a part.
OPTIONS = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
}


def faults(page, place: str = OUTPUTS) -> list[str]:
    """The grave violations inside a place, each with its rule and its element."""
    found = Axe().run(page, place, OPTIONS).response
    assert found["testEngine"]["name"] == "axe-core"
    return [
        f"{rule['id']}: {node['html'][:300]} {node['failureSummary'][:300]}"
        for rule in found["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def change_theme(page, theme: str) -> None:
    """Give JupyterLab another theme, by its menu, and wait until it is there."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text(theme, exact=True).click()
    page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
