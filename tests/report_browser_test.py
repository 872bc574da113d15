"""Does the report work in a real browser: search, links between the panes, views, hostile names?

report_browser_test.py ENCORE_DUMP TRANSFORMER_STEP [--keep FOLDER]
Exits with 77 where there is no Chromium. With --keep pictures of the views stay in that folder.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from browser import Browser

SKIPPED = 77
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def run(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **more).stdout


def picked_line(page):
    """What is lit in each pane, read from the page as a user sees it."""
    return page.eval("""(() => {
      const keys = (pane, state) => [...document.querySelectorAll(`#pane-${pane} .row.${state}`)].map(row => row.dataset.key);
      return {lines: keys('source', 'picked').concat(keys('source', 'linked')), nodes: keys('nodes', 'linked').concat(keys('nodes', 'picked')),
              kernels: keys('kernels', 'linked').concat(keys('kernels', 'picked')),
              code: document.querySelector('#pane-code .list').innerText,
              listing: document.querySelector('#pane-code .list').dataset.listing,
              kernel: Number(document.querySelector('#pane-code .list').dataset.kernel)};
    })()""")


def from_line_to_assembly_and_back(page):
    row = page.eval("""[...document.querySelectorAll('#pane-source .row.pickable')]
        .find(row => row.innerText.includes('softmax(seen)')).dataset.key""")
    page.click(f"#pane-source [data-key='{row}']")
    lit = picked_line(page)
    check(lit["lines"] == [row], f"the line is picked: {lit['lines']}")
    check(len(lit["nodes"]) >= 7, f"its nodes are lit and in sight: {lit['nodes']}")
    check(lit["kernels"], "its kernels are lit and in sight")
    check(lit["listing"] == "assembly" and "encore_kernel:" in lit["code"], "the code pane shows its assembly")
    check(f"kernel-{lit['kernel']}" in lit["kernels"], "of one of its kernels")
    page.click("#pane-code [data-listing=llvm]")
    check("define void @encore_" in picked_line(page)["code"], "and LLVM IR after a click")
    page.click("#pane-code [data-listing=assembly]")
    page.press("Escape")
    check(not picked_line(page)["nodes"], "Escape clears")
    page.click(f"#pane-kernels [data-key='kernel-{lit['kernel']}']")
    check(row in picked_line(page)["lines"], "the kernel leads back to the line")
    return row


def search(page):
    page.press("/", "/")
    check(page.eval("document.activeElement === document.querySelector('#search input')"), "/ goes to the search field")
    page.write("softmax")
    check(page.eval("document.querySelector('#search input').value") == "softmax", "and is not typed into it")
    ops = page.eval("[...document.querySelectorAll('#pane-nodes .row')].map(row => row.title)")
    check(ops and all("softmax" in op for op in ops), f"only nodes that match are left: {ops[:3]}")
    check("nodes" in page.eval("document.getElementById('found').textContent"), "their number is told")
    page.eval("app.setQuery('vmulps')")
    kernels = page.eval("document.querySelectorAll('#pane-kernels .row').length")
    check(kernels > 0, "a search finds kernels by their code")
    check("vmulps" in page.eval("document.querySelector('#pane-code mark').textContent"), "and marks the place")
    page.eval("app.setQuery('nothing is called so')")
    check(page.eval("document.querySelectorAll('#pane-nodes .row').length") == 0, "no match, no node")
    page.press("Escape")
    page.eval("app.setQuery('')")


def other_views(page, pictures):
    page.click("[data-view=memory]")
    bars = page.eval("document.querySelectorAll('rect.buffer').length")
    alive = page.eval("app.model.doc.buffers.filter(buffer => buffer.first !== undefined).length")
    check(bars == alive > 0, f"one bar a buffer: {bars} of {alive}")
    page.eval("document.querySelector('rect.buffer').dispatchEvent(new MouseEvent('click'))")
    check(page.eval("app.picked.kind") == "node", "a bar leads to its node")
    page.screenshot(pictures / "report-memory.png")
    page.click("[data-view=graph]")
    check(page.eval("document.querySelectorAll('#main .row.picked').length") == 1, "which the graph shows")
    page.click("[data-view=kernels]")
    check("%" in page.eval("document.querySelector('#main').innerText"), "measured kernels show their share of the ceiling")
    page.screenshot(pictures / "report-kernels.png")
    page.click("[data-view=fusion]")
    check(page.eval("document.querySelectorAll('#main .row').length") > 0, "refused fusions are listed")
    page.screenshot(pictures / "report-fusion.png")
    page.click("[data-view=history]")
    check(page.eval("document.querySelectorAll('#main .row').length") == page.eval("app.models.length"), "all traces are listed")
    page.screenshot(pictures / "report-history.png")


def write_measured(folder, bundle):
    """Times that nobody took, so that the view has something to show; the rates follow from them."""
    document = json.loads((bundle / "trace.json").read_text())
    kernels = {kernel["name"]: {"ms": max(kernel["bytes"], 1) / 20e6} for kernel in document["kernels"]}
    (folder / "measured.json").write_text(json.dumps({"kernels": kernels, "ceiling": {"GBps": 50, "GFLOPs": 400}}))


def hostile(page, tool, folder, bundle):
    """Names that would be HTML: nothing of them may run or become an element."""
    copy = folder / "0001-hostile"
    shutil.copytree(bundle, copy)
    evil = "<script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"
    document = json.loads((copy / "trace.json").read_text())
    document["files"] = [name + evil for name in document["files"]]
    document["miss"] = {"reason": evil, "text": evil}
    for graph in document["graphs"]:
        for node in graph["nodes"]:
            node["scope"] = evil
    (copy / "trace.json").write_text(json.dumps(document))
    for file in (copy / "kernels").iterdir():
        file.write_text(evil + "</script>\n" + file.read_text())
    run(tool, "html", folder, "hostile", "-o", folder / "hostile.html")
    page.open((folder / "hostile.html").as_uri())
    page.wait("!!window.app && app.models[0].name.includes('hostile')")
    for view in ("pipeline", "graph", "memory", "kernels", "fusion", "history"):
        page.click(f"[data-view={view}]")
        check(page.eval("document.querySelectorAll('img, #main script').length") == 0, f"no element was made in {view}")
    check("<script>" in page.eval("document.getElementById('main').innerText"), "the name is shown as it is")
    check(page.eval("window.evil") is None, "nothing of it ran")


def large(page, tool, folder, bundle):
    """A trace of 10,000 nodes: only what is in sight is in the document."""
    copy = folder / "0002-large"
    shutil.copytree(bundle, copy)
    document = json.loads((copy / "trace.json").read_text())
    for graph in document["graphs"]:
        nodes = graph["nodes"]
        while len(nodes) < 10000:
            nodes.append(dict(nodes[-1], id=len(nodes), inputs=[len(nodes) - 1]))
            nodes[-1].pop("became", None)
    (copy / "trace.json").write_text(json.dumps(document))
    run(tool, "html", folder, "large", "-o", folder / "large.html")
    page.open((folder / "large.html").as_uri())
    page.wait("!!window.app && app.models[0].name.includes('large')")
    check(page.eval("app.model.nodes.length") == 10000, "all nodes are there")
    check(page.eval("document.querySelectorAll('#pane-nodes .row').length") < 200, "few are drawn")
    page.eval("document.querySelector('#pane-nodes .list').scrollTop = 1e9")
    page.wait("!!document.querySelector('#pane-nodes [data-key=\"node-9999\"]')")
    page.click("#pane-nodes [data-key='node-9999']")
    check(page.eval("document.querySelector('.details').innerText").find("%9998") >= 0, "the last one can be picked")


def main():
    tool, example = sys.argv[1], sys.argv[2]
    program = next((path for path in map(shutil.which, PROGRAMS) if path), None)
    if not program:
        print("SKIPPED: no Chromium here; apt-get install chromium, and the report is tested in it")
        return SKIPPED
    folder = pathlib.Path(tempfile.mkdtemp(prefix="encore_report_"))
    pictures = pathlib.Path(sys.argv[4]) if sys.argv[3:4] == ["--keep"] else folder
    page = None
    try:
        bundles = folder / "bundles <&'\""
        run(example, "--steps", "2", env={**os.environ, "ENCORE_DUMP": str(bundles)})
        sources = pathlib.Path(__file__).resolve().parent.parent
        step = sorted(path for path in bundles.iterdir() if path.is_dir())[-1]  # beside syncs.txt
        report = folder / "report.html"
        print(run(tool, "html", bundles, "-o", report, "--source", sources).strip())
        page = Browser(program)
        page.dark(False)
        page.open(report.as_uri())
        page.wait("!!window.app")
        check(page.eval("app.model.name") == step.name, "the training step is shown first")
        row = from_line_to_assembly_and_back(page)
        search(page)
        page.click(f"#pane-source [data-key='{row}']")
        page.screenshot(pictures / "report.png")
        page.dark()
        page.screenshot(pictures / "report-dark.png")
        write_measured(bundles, step)
        run(tool, "html", bundles, "-o", report, "--source", sources)
        page.open(report.as_uri() + "?measured")
        page.wait("!!window.app && Object.keys(app.model.measured).length > 0")
        other_views(page, pictures)
        hostile(page, tool, bundles, step)
        large(page, tool, bundles, step)
        check(not page.complaints, f"no script failed: {page.complaints}")
        foreign = [url for url in page.requests if not url.startswith("file:")]
        check(not foreign and len(page.requests) == 4, f"nothing else is loaded: {page.requests}")
        print("line -> nodes -> kernel -> assembly and back, search, six views, hostile names, 10,000 nodes: all right")
        return 0
    finally:
        if page:
            page.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
