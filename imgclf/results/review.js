"use strict";
// Decisions on labels become corrections.csv, as data.corrections reads it (imgclf/data/corrections.py).

function cell(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function joined(labels, several) {
  return several ? labels.map((label) => label.replace(/[;\\]/g, "\\$&")).join(";") : labels[0];
}

// decisions: {path, action: "keep" | "relabel" | "drop", labels, given}; earlier: rows of path, action, label.
function corrections(decisions, several, earlier) {
  const decided = new Map();
  for (const { path, action, labels, given } of decisions) {
    const same = labels.length === given.length && labels.every((label) => given.includes(label));
    if (action === "drop") decided.set(path, [path, action, ""]);
    else if (action === "relabel" && !same) decided.set(path, [path, action, joined(labels, several)]);
  }
  const rows = [...earlier.filter((row) => !decided.has(row[0])), ...decided.values()];
  return [["path", "action", "label"], ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const cards = [...document.querySelectorAll(".suspects > li")];
  const button = document.getElementById("download");
  let saved = true;

  const chosen = (card) => [...card.querySelector("select").selectedOptions].map((option) => option.value);

  function decide(card, action) {
    card.querySelector(`input[value=${action}]`).checked = true;
    card.dataset.action = action;
    saved = false;
    const n = (kind) => cards.filter((one) => one.dataset.action === kind).length;
    const status = `${n("keep") + n("relabel") + n("drop")} of ${cards.length} decided: ` +
      `${n("keep")} kept, ${n("relabel")} relabelled, ${n("drop")} dropped`;
    document.getElementById("count").textContent = status;
    button.disabled = false;
  }

  // Every class in every select would be a large page: they come when a card is first used.
  function fill(card) {
    const select = card.querySelector("select");
    const likely = new Set(chosen(card));
    select.replaceChildren(...data.classes.map((name) => new Option(name, name, false, likely.has(name))));
  }

  function go(card, step) {
    const next = cards[cards.indexOf(card) + step];
    if (next) next.focus();
  }

  const keys = { k: "keep", r: "relabel", d: "drop" };
  for (const card of cards) {
    let filled = false;
    for (const event of ["focusin", "pointerenter"]) {
      card.addEventListener(event, () => {
        if (!filled) fill(card);
        filled = true;
      });
    }
    // With several labels a click turns one on or off, and leaves the others.
    card.addEventListener("mousedown", (event) => {
      if (event.target.tagName !== "OPTION" || !data.several) return;
      event.preventDefault();
      event.target.selected = !event.target.selected;
      decide(card, "relabel");
    });
    card.addEventListener("change", (event) =>
      decide(card, event.target.type === "radio" ? event.target.value : "relabel"));
    card.addEventListener("keydown", (event) => {
      const key = event.key.toLowerCase();
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
      if (keys[key]) decide(card, keys[key]);
      if (keys[key] || key === "n") go(card, 1);
      else if (key === "p") go(card, -1);
      else return;
      event.preventDefault();
    });
  }

  button.addEventListener("click", () => {
    const decisions = cards.map((card, i) => ({
      path: data.suspects[i].path, action: card.dataset.action || "keep", labels: chosen(card),
      given: data.suspects[i].labels,
    }));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([corrections(decisions, data.several, data.earlier)], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    saved = true;
  });
  window.addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault();
  });
}

if (typeof document !== "undefined") start();
else module.exports = { corrections };
