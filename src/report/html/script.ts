/**
 * What runs in the HTML report: makes the page of the data in it. Every word of the data becomes a text node, so that no
 * name or label is ever read as markup; nothing is loaded or sent.
 */
export const SCRIPT = String.raw`
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { report, rows, worst } = data;

  function h(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "onclick" || name === "oninput") node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
    }
    for (const child of children.flat()) {
      if (child !== null) node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
    return node;
  }
  const number = (value) => value.toLocaleString("en");
  const many = (value, noun, plural) => number(value) + " " + (value === 1 ? noun : plural ?? noun + "s");
  const grave = (row) => row.change === "Newly dropped or refused" || row.id === "UNEXPLAINED";
  const badge = (row) => h("span", { class: grave(row) ? "badge bad" : "badge" }, row.id);
  const section = (title, id, ...children) => h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...children);

  function header() {
    const { packets, verdict, planes } = report;
    const kind = verdict.exitCode === 0 ? "verdict" : verdict.exitCode === 1 ? "verdict bad" : "verdict warn";
    const share = packets.replayed === 0 ? 0 : 100 * (packets.replayed - packets.undecided - packets.contradicted) / packets.replayed;
    const tile = (value, text, style) => h("div", { class: "tile" + (style ?? "") }, h("b", {}, value), text);
    const open = rows.filter((row) => row.accepted === "");
    return h("header", {},
      h("h1", {}, planes[0].profile + " \u2192 " + planes[1].profile),
      h("div", { class: kind, role: "status" }, h("strong", {}, data.headline),
        h("p", {}, "exit code " + verdict.exitCode + ": " + verdict.why)),
      h("div", { class: "tiles" },
        tile(number(packets.replayed), "packets replayed"),
        tile(share.toFixed(share === 100 ? 0 : 1) + " %", "judged"),
        tile(number(packets.undecided), "undecided", packets.undecided > 0 ? " warn" : ""),
        tile(number(open.reduce((sum, row) => sum + row.flows, 0)), "flows that change", open.length > 0 ? " bad" : ""),
        tile(number(report.findings.filter((row) => row.id === "UNEXPLAINED").length), "unexplained")));
  }

  function worstList() {
    if (worst.length === 0) return null;
    return section(worst.length === 1 ? "The change" : "The worst changes", "worst", h("ol", { class: "worst" }, worst.map((row) =>
      h("li", {}, h("strong", {}, row.change), " ", badge(row),
      h("p", {}, h("span", { class: "mono" }, row.source), " \u2192 ", h("span", { class: "mono" }, row.to), " " + row.protocol + ", "
        + many(row.flows, "flow") + ", " + many(row.packets, "packet")),
      h("p", { class: "dim" }, "now: " + row.current), h("p", { class: "dim" }, "then: " + row.target)))));
  }

  const COLUMNS = [["change", "Change"], ["id", "Known as"], ["source", "From"], ["to", "To"], ["protocol", "Protocol"],
    ["flows", "Flows"], ["packets", "Packets"], ["current", "Now"], ["target", "Then"]];
  const isNumber = (key) => key === "flows" || key === "packets";
  const state = { key: null, down: false, text: "", change: "", id: "", open: new Set() };

  function changes() {
    if (rows.length === 0) return null;
    const body = h("tbody", {});
    const caption = h("caption", { "aria-live": "polite" });
    const heads = COLUMNS.map(([key, title]) => h("th", { scope: "col", class: isNumber(key) ? "number" : null, "data-key": key },
      h("button", { type: "button", onclick: () => sortBy(key) }, title)));
    const choice = (key, title, values) => h("label", {}, title, h("select", { id: "filter-" + key, oninput: (event) => {
      state[key] = event.target.value;
      show();
    } }, h("option", { value: "" }, "all"), values.map((value) => h("option", { value }, value))));
    const distinct = (key) => [...new Set(rows.map((row) => row[key]))];

    function sortBy(key) {
      state.down = state.key === key ? !state.down : isNumber(key);
      state.key = key;
      for (const head of heads) {
        if (head.dataset.key === key) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      }
      show();
    }

    function show() {
      const words = state.text.toLowerCase().split(/\s+/).filter((word) => word !== "");
      const shown = rows.filter((row) => (state.change === "" || row.change === state.change) && (state.id === "" || row.id === state.id)
        && words.every((word) => row.words.includes(word)));
      if (state.key !== null) {
        const { key, down } = state;
        const order = (a, b) => (a[key] < b[key] ? -1 : a[key] > b[key] ? 1 : 0);
        shown.sort((a, b) => (down ? -1 : 1) * order(a, b) || a.index - b.index);
      }
      const all = many(rows.length, "change");
      caption.textContent = shown.length === rows.length ? all : shown.length + " of " + all;
      body.replaceChildren(...shown.flatMap((row) => [line(row), page(row)]));
    }

    function line(row) {
      const cell = (key, title, child) => h("td", { class: isNumber(key) ? "number" : key === "source" || key === "to" ? "mono" : null,
        "data-label": title }, child ?? (isNumber(key) ? number(row[key]) : row[key]));
      return h("tr", { class: "row" }, COLUMNS.map(([key, title]) => (key === "change" ? cell(key, title, h("button", {
        type: "button", "aria-expanded": state.open.has(row.index) ? "true" : "false", "aria-controls": "page-" + row.index,
        onclick: (event) => toggle(row, event.target),
      }, row.change)) : key === "id" ? cell(key, title, badge(row)) : cell(key, title))));
    }

    function toggle(row, button) {
      const open = !state.open.has(row.index);
      if (open) state.open.add(row.index);
      else state.open.delete(row.index);
      button.setAttribute("aria-expanded", String(open));
      document.getElementById("page-" + row.index).hidden = !open;
    }

    window.addEventListener("beforeprint", () => {
      for (const row of rows) state.open.add(row.index);
      show();
    });
    show();
    return section("Changes", "changes",
      h("div", { class: "controls" },
        h("label", { class: "wide" }, "Search", h("input", {
          type: "search", id: "filter-text", placeholder: "pod, service, port, reason \u2026", oninput: (event) => {
            state.text = event.target.value;
            show();
          },
        })),
        choice("change", "Change", distinct("change")), choice("id", "Known as", distinct("id"))),
      h("table", { class: "cards", id: "changes-table" }, caption, h("thead", {}, h("tr", {}, heads)), body));
  }

  function page(row) {
    const about = data.pages[row.id];
    const example = row.example;
    const part = (title, text) => (text === "" ? null : h("div", {}, h("h3", {}, title), h("p", {}, text)));
    const none = h("p", { class: "dim" }, "no manifest line or option is known");
    return h("tr", { class: "page", id: "page-" + row.index, hidden: !state.open.has(row.index) }, h("td", { colspan: COLUMNS.length },
      h("h3", {}, row.title), row.accepted === "" ? null : h("p", {}, row.accepted),
      h("div", { class: "columns" },
        h("div", {}, h("h3", {}, "Because"), row.becauses.length === 0 ? none
          : h("ul", {}, row.becauses.map((one) => h("li", { class: "mono" }, one)))),
        h("div", {}, h("h3", {}, "Example packet"),
          h("p", { class: "mono" }, example.file + (example.line ? " line " : " packet ") + example.record),
          h("p", { class: "mono" }, example.flow))),
      about === undefined ? null : h("div", { class: "columns" }, part("Today", about.kubeProxy), part("Cilium", about.cilium),
        part("What to do", about.advice), part("Who met it", about.bitten.join(", ")),
        h("div", {}, h("h3", {}, "How it is known"),
          h("ul", {}, about.sources.map((one) => h("li", {}, one.what + " (" + one.known + ")")))))));
  }

  function table(title, id, columns, values, note) {
    if (values.length === 0) return null;
    return section(title, id, note === undefined ? null : h("p", { class: "dim" }, note), h("table", { class: "cards" },
      h("thead", {}, h("tr", {}, columns.map((name, at) =>
        h("th", { scope: "col", class: typeof values[0][at] === "number" ? "number" : null }, name)))),
      h("tbody", {}, values.map((cells) => h("tr", {}, cells.map((cell, at) => h("td", {
        class: typeof cell === "number" ? "number" : null, "data-label": columns[at],
      }, typeof cell === "number" ? number(cell) : cell)))))));
  }

  function fixes() {
    if (data.fixes === null || data.fixes.rows.length === 0) return null;
    const { rows: values, manifests, together } = data.fixes;
    return h("div", {}, table("Fixes", "fixes", ["For", "Tried on this traffic", "What"], values, together === "" ? undefined : together),
      manifests.map(({ name, yaml }) => h("details", {}, h("summary", { class: "mono" }, name), h("pre", { class: "mono" }, yaml))));
  }

  function coverage() {
    if (data.coverage.length === 0) return null;
    return section("Coverage", "coverage", h("ul", {}, data.coverage.map((line) => h("li", {}, line))));
  }

  function untouched() {
    const { services, policies } = report.untouched;
    if (services.length + policies.length === 0) return null;
    const list = (title, names) => (names.length === 0 ? null : h("div", {}, h("h3", {}, many(names.length, title[0], title[1])),
      h("ul", {}, names.map((name) => h("li", { class: "mono" }, name)))));
    return section("What the traffic never exercised", "untouched", h("p", { class: "dim" }, "Nothing is said about these."),
      h("div", { class: "columns" }, list(["service", "services"], services), list(["policy", "policies"], policies)));
  }

  function trust() {
    return section("What this rests on", "trust", h("ul", {}, data.trust.map((line) => h("li", {}, line))),
      data.problems.length === 0 ? null : h("div", {}, h("h3", {}, "Wrong in the inputs"),
        h("ul", {}, data.problems.map((line) => h("li", {}, line)))));
  }

  const said = "twinplane " + report.twinplane + ". Predicts specified behaviour on this traffic; bugs of a live agent are outside it.";
  document.body.append(h("a", { class: "skip", href: "#main" }, "To the changes"), header(), h("main", { id: "main" }, ...[
    worstList(), changes(), fixes(),
    table("Not judged", "undecided", ["Packets", "Why"], report.undecided.map(([why, packets]) => [packets, why]),
      "A packet that is not judged is never counted as the same."),
    table("Limits", "limits", ["Limit", "Of", "Used", "Most", "What then"],
      report.limits.map((one) => [one.id + " " + one.limit, one.subject, one.used, one.max, one.consequence])),
    table("Hazards that apply, which no packet shows beforehand", "hazards", ["Known as", "What", "Because"],
      report.hazards.map((one) => [one.id, one.title, one.because.slice(0, 3).join("; ")])),
    untouched(), coverage(), trust(),
  ].filter((part) => part !== null)), h("footer", {}, h("p", {}, said)));
})();
`;
