// The live page of a run: what is shown, of which moment, and what keys and clicks do.

import { Charts, CHARTS } from "./charts.js";
import { Comparison } from "./compare.js";
import { NetworkMap, UTILIZATION } from "./map.js";
import { linkOf, Panels } from "./panels.js";
import { Scale } from "./scale.js";
import { Store } from "./store.js";
import { clock, judged, ms, share } from "./words.js";

const SILENT_S = 5;
const PARTS = ["measure", "decide", "install", "judge"];

const byId = (id) => document.getElementById(id);
const store = new Store();
const view = { quantity: "utilization", selected: null, at: null, compare: false };
const scale = new Scale();
const due = []; // what is to be drawn anew, a piece a frame: all at once would be longer than a frame
let map, panels, charts, comparison, arrived = 0;

// Where in the ticks we are: the newest, or the one that was scrubbed to.
function place() {
  const { ticks } = store;
  if (view.at === null) return ticks.length - 1;
  const found = ticks.findIndex((tick) => tick.id >= view.at);
  return found < 0 ? ticks.length - 1 : found;
}

const DRAWN = [
  (tick, now) => {
    panels.showWays(tick, now, view.selected);
    head(tick);
    scrubber(now, tick);
  },
  (tick) => panels.showEnds(tick, view.selected),
  (tick) => {
    scale.stretch(store.ticks);
    const options = { quantity: view.quantity, borders: scale.borders(), widest: scale.widest, selected: view.selected };
    legend(options.borders);
    byId("map").hidden = view.compare;
    byId("pair").hidden = !view.compare;
    if (view.compare) comparison.show(options);
    else map.show(tick, options);
  },
  ...CHARTS.map((which) => (_, now) => charts.show(which, ["link", "server"].includes(view.selected?.kind) ? view.selected : null, now)),
];

// A piece a frame; the page is busy until what it shows belongs to one tick and one selection.
function redraw() {
  if (!document.body.ariaBusy) requestAnimationFrame(drawNext);
  document.body.ariaBusy = "true";
  for (const piece of DRAWN) if (!due.includes(piece)) due.push(piece);
}

function drawNext() {
  try {
    const piece = map?.busy ? null : due.shift(), now = place();
    if (store.ticks.length) piece?.(store.ticks[now], now);
  } finally { // an error in one piece keeps none of the others from being drawn
    if (due.length || map?.busy) requestAnimationFrame(drawNext);
    else document.body.ariaBusy = null;
  }
}

function legend(borders) {
  const price = view.quantity === "price";
  const said = (price ? borders.map((each) => `${+(each * 1e3).toPrecision(2)}`) : UTILIZATION.map(String));
  const key = `${view.quantity} ${said}`;
  const box = byId("legend");
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const marks = said.slice(0, -1).map((words, index) => {
    const mark = document.createElement("span");
    mark.style.setProperty("--colour", `var(--scale${index})`);
    mark.textContent = words;
    return mark;
  });
  box.replaceChildren(...marks, price ? "ms" : "");
  box.setAttribute("aria-label", price ? "Colours of price, from low to high" : "Colours of utilization, from low to high");
}

function head(tick) {
  const rate = store.network.sessions.reduce((sum, each) => sum + (tick.offered[each.name] ?? 0) / each.frame_bits, 0);
  const phase = tick.total ? `${tick.phase}, ${Math.max(tick.elapsed, 0).toFixed(0)} of ${tick.total.toFixed(0)} s` : tick.phase;
  const facts = [
    [phase, ""],
    [rate.toLocaleString("en", { maximumFractionDigits: 0 }), "packets/s"],
    [tick.objective, "mean delay by the model", ms],
    [tick.optimum, "the least it could be", ms],
    [...judged(tick), share],
  ].filter(([value]) => value != null);
  byId("facts").replaceChildren(
    ...facts.map(([value, words, said = String]) => {
      const fact = document.createElement("span");
      const strong = document.createElement("b");
      strong.textContent = said(value);
      fact.append(strong, ` ${words}`);
      return fact;
    }),
  );
  byId("tick").textContent = `tick ${tick.tick}, ${(tick.tick_s * 1e3).toFixed(0)} ms`;
  const took = PARTS.map((name) => [name, (tick.tick_parts_s ?? {})[name] ?? 0]);
  const words = took.map(([name, seconds]) => `${name} ${(seconds * 1e3).toFixed(0)} ms`).join(", ");
  const parts = byId("parts");
  parts.setAttribute("aria-label", words);
  byId("clock").title = `The control tick: ${words}; ${tick.rules_changed} rules changed`;
  const sum = took.reduce((total, [, seconds]) => total + seconds, 0) || 1;
  while (parts.children.length < PARTS.length) parts.append(document.createElement("i"));
  took.forEach(([, seconds], index) => (parts.children[index].style.width = `${(100 * seconds) / sum}%`));
  chosen(tick);
}

// The policy of a tick; what cost weighs in it, V, is a part of its name: "gdcnc(10)".
function chosen(tick) {
  const { policies } = store.network, [, base, weight] = tick.policy.match(/^(.*?)(?:\(([^()]*)\))?$/);
  const policy = policies.find((each) => each.name === tick.policy) ?? policies.find((each) => each.name === base);
  const chooser = byId("policy"), field = byId("weight");
  if (document.activeElement !== chooser) chooser.value = policy?.name ?? "";
  chooser.title = policy?.summary ?? "";
  byId("weighs").hidden = policy?.weight == null;
  if (document.activeElement !== field) field.value = weight ?? policy?.weight ?? "";
  chooser.disabled = field.disabled = !tick.changes;
}

function scrubber(now, tick) {
  const { ticks } = store;
  const slider = byId("time");
  slider.max = ticks.length - 1;
  slider.value = now;
  const live = view.at === null;
  const ago = ticks.at(-1).time - tick.time;
  byId("when").textContent = live ? `live, ${clock(tick.time)}` : `${clock(tick.time)}, ${ago.toFixed(0)} s ago`;
  slider.setAttribute("aria-valuetext", byId("when").textContent);
  byId("pause").setAttribute("aria-pressed", !live);
  byId("pause").textContent = live ? "Pause" : "Live";
  document.body.classList.toggle("past", !live);
}

function goTo(index) {
  const { ticks } = store;
  if (index == null || !ticks.length) return;
  const wanted = Math.max(0, Math.min(index, ticks.length - 1));
  view.at = wanted === ticks.length - 1 && view.at !== null && index > wanted ? null : ticks[wanted].id;
  redraw();
}

const pause = () => {
  view.at = view.at === null ? (store.ticks.at(-1)?.id ?? null) : null;
  redraw();
};

const pick = (selected) => {
  view.selected = selected;
  redraw();
};

// From a list, which may be far below the map and what is told of the selection.
const pickListed = (selected) => {
  pick(selected);
  if (selected) byId("live").scrollIntoView({ block: "nearest" });
};

const show = (quantity) => {
  view.quantity = quantity;
  for (const button of document.querySelectorAll("[data-quantity]")) button.setAttribute("aria-pressed", button.dataset.quantity === quantity);
  redraw();
};

const compare = () => {
  view.compare = !view.compare;
  byId("compare").setAttribute("aria-pressed", view.compare);
  redraw();
};

let hiding;
function complain(words) {
  const box = byId("problem");
  box.textContent = words;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.hidden = true), 12000);
}

const change = (path, body) => store.put(path, body).catch((error) => complain(error.message));
const part = encodeURIComponent;

function works({ kind, key }, value) {
  const { src, dst } = linkOf(key);
  const path = kind === "link" ? `api/links/${part(src)}/${part(dst)}` : `api/${kind}s/${part(key)}`;
  return change(path, { works: value });
}

function failOrHeal() {
  const tick = store.ticks.at(-1);
  if (view.selected && view.selected.kind !== "session" && tick) works(view.selected, !panels.works(tick, view.selected));
}

const KEYS = {
  " ": pause,
  ArrowLeft: () => goTo(place() - 1),
  ArrowRight: () => view.at !== null && goTo(place() + 1),
  u: () => show("utilization"),
  p: () => show("price"),
  c: compare,
  f: failOrHeal,
  Escape: () => pick(null),
};

function listen() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    const pressing = event.key === " " && event.target.closest("button, a");
    if (event.ctrlKey || event.metaKey || event.altKey || pressing || (typing && event.key !== "Escape")) return;
    const act = KEYS[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  for (const button of document.querySelectorAll("[data-quantity]")) button.addEventListener("click", () => show(button.dataset.quantity));
  byId("pause").addEventListener("click", pause);
  byId("compare").addEventListener("click", compare);
  byId("time").addEventListener("input", (event) => goTo(+event.target.value === store.ticks.length - 1 && view.at !== null ? store.ticks.length : +event.target.value));
  byId("policy").addEventListener("change", (event) => {
    change("api/policy", { policy: event.target.value });
    event.target.blur();
  });
  byId("weight").addEventListener("change", (event) => {
    if (event.target.reportValidity() && event.target.value !== "") change("api/policy", { policy: `${byId("policy").value}(${event.target.value})` });
    event.target.blur();
  });
}

store.askForToken = () =>
  new Promise((resolve) => {
    const dialog = byId("ask");
    dialog.onclose = () => {
      const given = dialog.returnValue === "ok" ? byId("token").value : "";
      byId("token").value = "";
      if (given) sessionStorage.setItem("token", given);
      resolve(given !== "");
    };
    dialog.returnValue = "";
    dialog.showModal();
  });

store.addEventListener("network", () => {
  const { network } = store;
  byId("name").textContent = network.name;
  byId("title").textContent = network.title;
  document.title = `${network.name} – Wardrop`;
  byId("policy").replaceChildren(...network.policies.map(({ name, summary }) => Object.assign(new Option(name, name), { title: summary })));
  map = new NetworkMap(byId("map"), store, pick);
  panels = new Panels(store, {
    pick, pickListed, redraw, works,
    demand: (session, factor) => change(`api/sessions/${part(session)}/demand`, { factor }),
    value: (user, factor) => change(`api/users/${part(user)}/value`, { factor }),
  });
  charts = new Charts(store, goTo);
  comparison = new Comparison(store, pick, redraw);
});

store.addEventListener("ticks", () => {
  arrived = performance.now();
  const hand = document.querySelector(".clock .hand");
  hand.getAnimations().forEach((each) => each.cancel());
  const [before, last] = store.ticks.slice(-2);
  const period = last ? Math.min(Math.max(last.time - before.time, 0.1), 10) : 1;
  hand.animate([{ transform: "rotate(0)" }, { transform: "rotate(1turn)" }], { duration: period * 1e3, fill: "forwards" });
  redraw();
});

setInterval(() => {
  const silent = (performance.now() - arrived) / 1e3;
  const lost = store.network && !store.connected;
  const late = store.ticks.length && silent > SILENT_S;
  byId("when").classList.toggle("lost", Boolean(lost || late));
  if (lost) byId("when").textContent = "the run does not answer";
  else if (late && view.at === null) byId("when").textContent = `no tick for ${silent.toFixed(0)} s`;
}, 1000);

listen();
store.start().catch((error) => complain(`The run does not answer: ${error.message}`));
