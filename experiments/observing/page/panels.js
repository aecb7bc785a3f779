// Lists of servers, sessions, links and events, and all that is known of what is selected.

import { select } from "./vendor/d3.js";
import { busiest, classesAt, location, PARTS, perMillion, quoted } from "./economy.js";
import { bar, chip, classTable, duplications, element, fill, resource, say, stacked, table } from "./pieces.js";
import { clock, filled, mbit, ms, route, share } from "./words.js";

const SHOWN = 24; // links in the list
const KINDS = [["link", "links"], ["answers", "answers on the way back"], ["server", "server"]]; // parts of a route's price
const TOLD = 40; // events in the list

const same = (one, other) => one?.kind === other?.kind && one?.key === other?.key;

export class Panels {
  constructor(store, actions) {
    this.store = store;
    this.actions = actions;
    this.find = document.getElementById("find");
    this.find.addEventListener("input", () => actions.redraw());
    this.detail = document.getElementById("detail");
    this.subject = null;
    document.querySelector("#locations .legend").append(...PARTS.flatMap(([part, kind]) => [element("i", kind), `${part} `]));
  }

  // In two pieces, for one would be longer than a frame: who asks and who serves, and what is on the way.
  showEnds(tick, selected) {
    this.servers(tick, selected);
    this.sessions(tick, selected);
    this.locations(tick, selected);
    this.classes(tick);
  }

  showWays(tick, place, selected) {
    this.links(tick, selected);
    this.events(place);
    this.details(tick, selected);
  }

  // Rows that are buttons, kept while what they stand for stays: focus is not lost at a tick.
  rows(id, items, kind, selected, make, update) {
    const { pickListed } = this.actions;
    select(`#${id}`)
      .selectAll("li")
      .data(items, (item) => item.key)
      .join((enter) =>
        enter.append(() => {
          const row = element("li");
          const button = element("button");
          button.type = "button";
          button.append(...make());
          row.append(button);
          return row;
        }),
      )
      .order()
      .each(function (item) {
        const button = this.firstChild;
        const chosen = selected?.kind === kind && selected.key === item.key;
        button.onclick = () => pickListed(chosen ? null : { kind, key: item.key });
        button.setAttribute("aria-pressed", chosen);
        button.dataset[kind] = item.key;
        update(button.children, item);
      });
  }

  servers(tick, selected) {
    document.querySelector("h2:has(+ #servers)").hidden = !tick.servers.length;
    const items = this.store.network.servers.map((server, index) => ({ key: server.name, server, index, state: tick.servers[index] }));
    const make = () => [element("span", "swatch"), element("span", "what"), bar(), element("span", "number"), element("span", "number")];
    this.rows("servers", items, "server", selected, make, ([swatch, what, meter, used, price], { server, index, state }) => {
      const failed = tick.down.servers.includes(server.name);
      swatch.style.background = filled(index);
      say(what, `${server.name} at ${server.node}`);
      what.title = what.textContent; // there is not room for every name
      fill(meter, state.utilization);
      say(used, failed ? "failed" : state.utilization.toFixed(2));
      say(price, ms(state.price));
    });
  }

  sessions(tick, selected) {
    const items = this.store.network.sessions.map((session) => ({ key: session.name, session }));
    const make = () => [element("span", "what"), element("span", "split"), element("span", "number")];
    this.rows("sessions", items, "session", selected, make, ([what, split, number], { session }) => {
      say(what, session.name);
      say(number, mbit(tick.offered[session.name] ?? 0));
      const shares = this.shares(tick, session.name);
      split.title = shares.map((each) => `${each.name} ${share(each.weight)}`).join(", ");
      select(split)
        .selectAll("i")
        .data(shares)
        .join("i")
        .style("background", (each) => each.fill)
        .style("width", (each) => `${100 * each.weight}%`);
    });
  }

  // A session's split by server; by route where no server ends it.
  shares(tick, name) {
    const found = new Map();
    (tick.decided[name] ?? []).forEach(([text, weight], place) => {
      const { server } = route(text);
      const key = server ?? text;
      const index = server == null ? place : this.store.serverIndex.get(server);
      found.set(key, { name: key, fill: filled(index), index, weight: weight + (found.get(key)?.weight ?? 0) });
    });
    return [...found.values()].sort((one, other) => one.index - other.index);
  }

  links(tick, selected) {
    const wanted = this.find.value.trim().toLowerCase();
    this.named ??= this.store.network.links.map((link, index) => ({ key: `${link.src}>${link.dst}`, name: `${link.src} → ${link.dst}`, link, index }));
    const all = this.named
      .filter((item) => item.name.toLowerCase().includes(wanted))
      .map((item) => ({ ...item, state: tick.links[item.index], failed: isDown(tick, item.link) }))
      .sort((one, other) => other.failed - one.failed || other.state.utilization - one.state.utilization);
    const make = () => [element("span", "what"), bar(), element("span", "number"), element("span", "number")];
    this.rows("links", all.slice(0, SHOWN), "link", selected, make, ([what, meter, used, price], { name, state, failed }) => {
      say(what, name);
      fill(meter, state.utilization);
      say(used, failed ? "failed" : state.utilization.toFixed(2));
      say(price, ms(state.price));
    });
    const rest = all.length - SHOWN;
    document.getElementById("more").textContent = rest > 0 ? `${rest} less loaded ones are not shown` : "";
  }

  // What a market charges each session, in its parts.
  locations(tick, selected) {
    document.getElementById("locations").hidden = !tick.market;
    if (!tick.market) return;
    const { currency, age } = tick.market;
    document.getElementById("locations-of").textContent = `${currency} a million tokens; cleared ${age ? `${age} round${age > 1 ? "s" : ""} ago` : "now"}`;
    const items = this.store.network.sessions.map(({ name }) => ({ key: name, found: location(this.store, tick, name, route) })).filter((item) => item.found);
    const make = () => [element("span", "what"), element("span", "stack"), element("span", "number")];
    this.rows("prices", items, "session", selected, make, ([what, stack, number], { key, found }) => {
      say(what, key + (found.shed > 1e-6 ? `, ${found.shed.toFixed(1)} tokens/s shed` : ""));
      stacked(stack, found.parts.map(([part, kind, price]) => [part, kind, price, perMillion(price)]), found.price || 1);
      say(number, perMillion(found.price));
    });
  }

  classes(tick) {
    const rows = busiest(tick), box = document.getElementById("classes");
    box.hidden = !rows.length;
    if (!rows.length) return;
    const head = ["", ...rows[0].classes.map(({ klass }) => `class ${klass}`)];
    box.lastChild.replaceChildren(table(head, rows.map((row) => [row.name, ...row.classes.map(({ load, wait }) => `${load.toFixed(2)}, ${ms(wait)}`)])));
  }

  events(place) {
    const { ticks } = this.store;
    const told = [];
    for (let index = place; index >= 0 && told.length < TOLD; index -= 1)
      for (const words of [...ticks[index].events].reverse()) told.push({ key: `${ticks[index].id} ${words}`, time: ticks[index].time, words });
    select("#events")
      .selectAll("li")
      .data(told, (event) => event.key)
      .join((enter) => {
        const row = enter.append("li");
        row.append("time").text((event) => clock(event.time));
        row.append("span").text((event) => event.words);
        return row;
      })
      .order();
  }

  details(tick, selected) {
    this.detail.hidden = selected === null;
    if (selected === null) {
      this.subject = null;
      return;
    }
    if (!same(this.subject, selected)) {
      this.subject = selected;
      this.detail.replaceChildren(element("div", "facts-of"), this.controls(tick, selected));
    }
    const facts = this.detail.firstChild;
    facts.replaceChildren(...this[`${selected.kind}Facts`](tick, selected.key));
    const works = this.works(tick, selected);
    const button = this.detail.querySelector("button.fails");
    if (button) {
      button.textContent = works ? `Fail ${this.noun(selected)}` : `Heal ${this.noun(selected)}`;
      button.onclick = () => this.actions.works(selected, !works);
    }
    const slider = this.detail.querySelector("input[type=range]");
    if (slider) {
      const { factor, words } = this.lever(tick, selected.key);
      if (!slider.matches(":active, :focus")) slider.value = factor;
      if (!slider.matches(":active")) this.detail.querySelector("output").textContent = words(factor);
    }
    for (const each of this.detail.querySelectorAll(".controls button, .controls input")) each.disabled = !tick.changes;
    this.detail.querySelector(".refused").hidden = tick.changes;
  }

  noun({ kind, key }) {
    return kind === "link" ? `the cable ${key.replace(">", "–")}` : key;
  }

  works(tick, { kind, key }) {
    if (kind === "link") return !isDown(tick, linkOf(key));
    return !(kind === "server" ? tick.down.servers : tick.down.nodes).includes(key);
  }

  // What a session's slider moves: its demand; where its user decides on that, what the user's requests are worth.
  lever(tick, key) {
    const { user, rate } = this.store.session.get(key);
    const times = (factor, of) => `${factor.toFixed(1)} × ${of}`;
    if (user) return { factor: tick.worth[user] ?? 1, words: (factor) => times(factor, "the first"), set: (factor) => this.actions.value(user, factor) };
    return { factor: tick.demand[key] ?? 1, words: (factor) => times(factor, mbit(rate)), set: (factor) => this.actions.demand(key, factor) };
  }

  // What can be changed of a selection; made once for it, so that a slider is not pulled from under a finger.
  controls(tick, selected) {
    const box = element("div", "controls");
    if (selected.kind === "session") {
      const { user } = this.store.session.get(selected.key), { words, set } = this.lever(tick, selected.key);
      const label = element("label", "", user ? "Worth " : "Demand ");
      const slider = Object.assign(document.createElement("input"), { type: "range", min: user ? 0.1 : 0, max: 3, step: 0.1 });
      const said = element("output");
      slider.addEventListener("input", () => (said.textContent = words(+slider.value)));
      slider.addEventListener("change", () => set(+slider.value));
      label.append(slider, said);
      if (user) box.append(element("p", "soft", `What this option sends is for ${user} to decide, by the prices. What can be set is what requests of ${user} are worth.`));
      box.append(label);
    } else {
      const button = element("button", "fails");
      button.type = "button";
      box.append(button);
    }
    box.append(element("p", "refused soft", "This run takes no changes: what it measures would no longer be comparable."));
    return box;
  }

  linkFacts(tick, key) {
    const place = this.store.linkIndex.get(key);
    const { capacity, fee } = this.store.network.links[place];
    return [
      element("h2", "", key.replace(">", " → ")),
      resource(tick.links[place], mbit(tick.links[place].load), mbit(capacity), quoted(this.store, tick, "links", place, fee)),
      ...this.waits(tick, key.replace(">", "->")),
      this.users(tick, (each) => each.links.includes(key)),
    ];
  }

  serverFacts(tick, key) {
    const place = this.store.serverIndex.get(key);
    const { capacity, node, cost } = this.store.network.servers[place];
    const state = tick.servers[place];
    return [
      element("h2", "", `${key} at ${node}`),
      resource(state, `${state.load.toFixed(0)} work/s`, `${capacity.toFixed(0)} work/s`, quoted(this.store, tick, "servers", place, cost)),
      ...this.waits(tick, key),
      this.users(tick, (each) => each.server === key),
    ];
  }

  // The classes at a machine, where there are some.
  waits(tick, machine) {
    const found = classesAt(tick, machine);
    return found.length ? [classTable(found, this.store.network.currency || "currency")] : [];
  }

  nodeFacts(tick, key) {
    const here = this.store.network.sessions.filter((session) => session.source === key);
    const { pick } = this.actions;
    const list = element("p", "users");
    list.append(here.length ? "Where traffic enters: " : "No traffic enters here.");
    for (const session of here) list.append(chip(session.name, mbit(tick.offered[session.name] ?? 0), () => pick({ kind: "session", key: session.name })));
    return [element("h2", "", key), list];
  }

  // Which sessions use a resource, and how much of them.
  users(tick, uses) {
    const list = element("p", "users");
    const { pick } = this.actions;
    const found = this.store.network.sessions
      .map(({ name }) => ({
        name,
        weight: (tick.decided[name] ?? []).reduce((sum, [text, weight]) => sum + (uses(route(text)) ? weight : 0), 0),
      }))
      .filter((each) => each.weight > 0)
      .sort((one, other) => other.weight * tick.offered[other.name] - one.weight * tick.offered[one.name]);
    list.append(found.length ? "Used by " : "No session uses it.");
    for (const { name, weight } of found) list.append(chip(name, share(weight), () => pick({ kind: "session", key: name })));
    return list;
  }

  // What a session's class or market asks of it, in words and parts; nothing where there is neither.
  terms(tick, session) {
    const said = [], price = tick.session_prices?.[session.name], found = location(this.store, tick, session.name, route);
    const lost = tick.lost_in_extraction?.[session.name];
    if (lost) said.push(element("p", "soft", `No tree took ${share(lost)} of what was decided.`));
    if (tick.session_times?.[session.name] != null) {
      const pays = price == null ? "is not on offer" : `pays ${+price.toPrecision(3)} ${this.store.network.currency || "currency"} and takes ${ms(tick.session_times[session.name])}`;
      said.push(element("p", "", `Class ${session.klass}: a request ${pays}.`));
    }
    if (found) {
      const stack = element("div", "stack");
      stacked(stack, found.parts.map(([part, kind, amount]) => [part, kind, amount, perMillion(amount)]), found.price || 1);
      const words = found.parts.map(([part, , amount]) => `${part} ${perMillion(amount)}`).join(", ");
      said.push(element("h3", "", `Its location costs ${perMillion(found.price)} ${tick.market.currency} a million tokens`), stack, element("p", "soft location-said", words));
    }
    return said;
  }

  // The routes of a session, each with its price split into its parts.
  sessionFacts(tick, key) {
    const session = this.store.session.get(key);
    const realised = new Map(tick.realised[key] ?? []);
    const routes = (tick.decided[key] ?? [])
      .map(([text, weight]) => {
        const parts = this.store.parts(tick, key, text, route);
        return { text, weight, parts, sum: parts.reduce((sum, [, , cost]) => sum + (cost ?? 0), 0) };
      })
      .sort((one, other) => other.weight - one.weight);
    const dearest = Math.max(...routes.map((each) => each.sum), 1e-9);
    const list = element("div", "routes-of");
    for (const { text, weight, parts, sum } of routes) {
      const { nodes, server, copies } = route(text);
      const way = copies ? `a tree of ${copies.length} copies` : `${nodes.join(" → ") || "here"}${server ? ` → ${server}` : ""}`;
      const head = element("p");
      const measured = realised.has(text) ? `, measured ${share(realised.get(text))}` : "";
      head.append(element("b", "", share(weight)), ` ${way}`, element("span", "soft", measured));
      const price = element("div", "price");
      const stack = element("div", "stack");
      stacked(stack, parts.map(([name, kind, cost]) => [name, kind, cost, ms(cost)]), dearest);
      const links = parts.filter(([, kind]) => kind !== "server").reduce((total, [, , cost]) => total + (cost ?? 0), 0);
      price.append(stack, element("span", "number", ms(sum)));
      list.append(head, price, element("p", "soft parts-said", `links ${ms(links)}${server ? `, ${server} ${ms(sum - links)}` : ""}`));
      if (copies) list.append(duplications(session, copies));
    }
    const sums = routes.filter((each) => each.weight > 0.01).map((each) => each.sum);
    const spread = sums.length > 1 ? `The routes in use cost between ${ms(Math.min(...sums))} and ${ms(Math.max(...sums))}: where they cost the same, nothing is gained by moving.` : "";
    const legend = element("p", "legend"), kinds = new Set(routes.flatMap((each) => each.parts.map(([, kind]) => kind)));
    for (const [kind, words] of KINDS) if (kinds.has(kind)) legend.append(element("i", kind), `${words} `);
    return [
      element("h2", "", `${key}, from ${session.source}${session.kind === "multicast" ? ` to ${session.destinations.join(", ")}` : ""}`),
      element("p", "soft", `Offers ${mbit(tick.offered[key] ?? 0)}, ${mbit(tick.delivered?.[key] ?? 0)} delivered. One more packet adds, by each of its routes:`),
      list,
      legend,
      element("p", "soft", spread),
      ...this.terms(tick, session),
    ];
  }
}

export const linkOf = (key) => {
  const [src, dst] = key.split(">");
  return { src, dst };
};

export const isDown = (tick, { src, dst }) =>
  tick.down.links.some(([a, b]) => (a === src && b === dst) || (a === dst && b === src)) || tick.down.nodes.includes(src) || tick.down.nodes.includes(dst);
