// The pieces that lists and details are made of.

import { made, shade } from "./copies.js";
import { step, UTILIZATION } from "./map.js";
import { hue, ms, owed } from "./words.js";

export const element = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

// Say something else where there is something else to say: what stays is not laid out anew.
export function say(where, words) {
  if (where.textContent !== words) where.textContent = words;
}

export function bar() {
  const meter = element("span", "meter");
  meter.append(element("i"));
  return meter;
}

export function fill(meter, utilization) {
  meter.firstChild.style.width = `${100 * Math.min(utilization, 1)}%`;
  meter.firstChild.style.background = `var(--scale${step(utilization, UTILIZATION)})`;
}

export function chip(name, words, act) {
  const button = element("button", "chip", name);
  button.type = "button";
  button.append(element("b", "", words));
  button.onclick = act;
  return button;
}

export function resource(state, load, capacity, more) {
  const list = element("dl");
  const facts = [
    ["load", `${load} of ${capacity}`],
    ["utilization", state.utilization.toFixed(3)],
    ["price", ms(state.price)],
    ["delay by the model", ms(state.delay)],
    ["measured", state.age == null ? "not yet" : `${state.age.toFixed(1)} s ago`],
    ...more,
  ];
  for (const [what, value] of facts) {
    const term = element("dd", "", value);
    term.dataset.fact = what;
    list.append(element("dt", "", what), term);
  }
  return list;
}

// A bar of parts, [name, kind, amount, words] each, in which `whole` is the full width.
export function stacked(stack, parts, whole) {
  stack.replaceChildren(
    ...parts.map(([name, kind, amount, words]) => {
      const part = element("i", kind);
      part.style.width = `${(100 * (amount ?? 0)) / whole}%`;
      part.title = `${name}: ${words}`;
      return part;
    }),
  );
}

// Where a tree makes copies, and the destinations that each owes.
export function duplications(session, copies) {
  const list = element("ul", "copies");
  for (const { at, delivers, onto } of made(session, copies)) {
    const row = element("li", "", `${at} makes ${onto.length + delivers} copies: `);
    if (delivers) row.append(element("span", "", "its own, "));
    onto.forEach(({ to, owes }, place) => {
      const copy = element("b", "", `${to} ${owed(owes)}`);
      copy.style.setProperty("--colour", hue(shade(session, owes)));
      row.append(place ? ", " : "", copy);
    });
    list.append(row);
  }
  return list;
}

export function table(head, rows) {
  const whole = element("table");
  whole.append(
    ...[head, ...rows].map((cells, index) => {
      const line = element("tr");
      line.append(...cells.map((text, column) => element(index && column ? "td" : "th", "", text)));
      return line;
    }),
  );
  return whole;
}

export const classTable = (found, currency) =>
  table(["class", "load", "wait", `${currency} a second of service`], found.map((each) => [each.klass, each.load.toFixed(3), ms(each.wait), String(+each.price.toPrecision(3))]));
