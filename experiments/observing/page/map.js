// The map: each direction of a cable a curve of its own, its width the load, its colour utilization or price.

import { select, zoom, zoomIdentity } from "./vendor/d3.js";
import { made, shade } from "./copies.js";
import { STEPS } from "./scale.js";
import { HUES, hue, ms, owed, route, share } from "./words.js";

const BEND = 0.09; // how far a link bends to one side, as a share of its length: both directions are seen
const MARGIN = { x: 62, top: 38, bottom: 30 };
const LINE = 13; // height of a line below a name
const MANY = 40; // nodes of a network that is drawn finer
const NARROW = 560; // width of a map that is stretched in height
const DRAWN_MS = 300; // from one drawing to the next while the map is moved
const AT_ONCE = 300; // links that are drawn anew in one frame
const LETTER = 6.6; // mean width of a letter of a name
const NEAR = [20, 28, 36, 44, 52, 60, 68, 76, 84, 92]; // px from a node where its cables should not run under its name
const UNDER = 0.25; // what each of them that does counts, in radians of room
// Sides of a node where its name may stand: direction, to the right, down, anchor.
const SIDES = [[Math.PI / 2, 0, 1, "middle"], [-Math.PI / 2, 0, -1, "middle"], [0, 1, 0, "start"], [Math.PI, -1, 0, "end"]];
const DASH = 15; // px from one dash of a route to the next
export const UTILIZATION = [0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1];

export const step = (value, borders) => {
  let place = 0;
  while (place < STEPS - 1 && value >= borders[place + 1]) place += 1;
  return place;
};

export class NetworkMap {
  constructor(container, store, pick) {
    this.store = store;
    this.network = store.network;
    this.pick = pick;
    this.container = container;
    // Two sheets, one over the other: lit routes move in each frame, and what stands still is not painted again for them.
    this.plane = select(container).append("div").attr("class", "plane");
    this.sheets = ["network", "lights"].map((name) => this.plane.append("svg").attr("class", name));
    this.sheets[0].attr("role", "group").attr("aria-label", "Map of the network");
    this.stages = this.sheets.map((sheet) => sheet.append("g"));
    this.zoom = zoom()
      .scaleExtent([0.8, 12])
      .clickDistance(6)
      .on("zoom", (event) => this.move(event.transform))
      .on("end", () => this.settle());
    this.drawn = this.seen = zoomIdentity;
    this.busy = false;
    const frame = select(container).call(this.zoom).on("dblclick.zoom", null);
    frame.on("dblclick", () => frame.call(this.zoom.transform, zoomIdentity));
    this.plane.on("click", () => pick(null));
    this.draw();
    new ResizeObserver(() => this.place()).observe(container);
  }

  // Zoomed and shifted: the picture as it was drawn moves at once, and is drawn anew where it then is every `DRAWN_MS`.
  // Drawing some thousand curves takes longer than a frame.
  move(transform) {
    this.seen = transform;
    this.container.classList.add("moving");
    const scale = transform.k / this.drawn.k;
    const [x, y] = [transform.x - this.drawn.x * scale, transform.y - this.drawn.y * scale];
    this.plane.style("transform", `translate(${x}px,${y}px) scale(${scale})`);
    this.settling ??= setTimeout(() => this.redraw(), DRAWN_MS);
  }

  redraw() {
    clearTimeout(this.settling);
    this.settling = null;
    this.drawn = this.seen;
    for (const stage of this.stages) stage.attr("transform", this.drawn);
    this.plane.style("transform", null);
  }

  settle() {
    this.redraw();
    this.container.classList.remove("moving");
  }

  draw() {
    const { links, nodes, servers, sessions } = this.network;
    const at = new Map();
    servers.forEach((server, index) => at.set(server.node, [...(at.get(server.node) ?? []), { ...server, index }]));
    const sources = new Set(sessions.map((session) => session.source));
    const said = (link) => {
      const state = this.last.tick.links[link.index];
      return `${link.src} → ${link.dst}: utilization ${state.utilization.toFixed(2)}, price ${ms(state.price)}`;
    };
    const choose = (kind, key) => (event) => {
      event.stopPropagation();
      this.pick({ kind, key });
    };
    const group = (name, sheet = 0) => this.stages[sheet].append("g").attr("class", name);
    this.links = group("links")
      .selectAll("g")
      .data(links.map((link, index) => ({ ...link, index, key: `${link.src}>${link.dst}` })))
      .join("g")
      .attr("class", "link")
      .attr("data-link", (link) => link.key)
      .on("click", function (event, link) {
        choose("link", link.key)(event);
      });
    this.links.append("path").attr("class", "reach");
    this.links.append("path").attr("class", "line");
    this.links.append("path").attr("class", "head");
    this.links.on("pointerenter", function (_, link) {
      select(this).selectAll("title").data([link]).join("title").text(said);
    });
    this.lit = group("routes", 1);
    this.crosses = group("crosses");
    this.nodes = group("nodes")
      .selectAll("g")
      .data(nodes.map((node) => ({ ...node, servers: at.get(node.name) ?? [], source: sources.has(node.name) })))
      .join("g")
      .attr("class", (node) => `node${node.source ? " source" : ""}${node.servers.length ? " serving" : ""}`)
      .attr("data-node", (node) => node.name)
      .on("click", (event, node) =>
        node.servers.length ? choose("server", node.servers[0].name)(event) : choose("node", node.name)(event),
      );
    this.nodes
      .selectAll("rect")
      .data((node) => node.servers)
      .join("rect")
      .attr("width", 22)
      .attr("height", 22)
      .attr("rx", 4)
      .attr("data-server", (server) => server.name)
      .on("click", (event, server) => choose("server", server.name)(event));
    this.nodes
      .append("circle")
      .attr("r", nodes.length > MANY ? 3 : 5)
      .on("click", (event, node) => choose("node", node.name)(event));
    this.nodes.append("title").text((node) => node.name);
    this.copiers = group("copiers", 1);
    this.labels = this.nodes.append("text").attr("class", "name");
    this.labels.append("tspan").text((node) => node.name);
    this.labels
      .selectAll("tspan.state")
      .data((node) => node.servers)
      .join("tspan")
      .attr("class", "state")
      .attr("dy", "1.15em");
    this.groups = this.links.nodes();
    this.shown = links.map(() => ({}));
    this.place();
  }

  // Screen coordinates, for the width that there is.
  place() {
    const { nodes } = this.network;
    const width = this.container.clientWidth;
    if (!width) return;
    const xs = nodes.map((node) => node.x), ys = nodes.map((node) => node.y);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const side = Math.min(MARGIN.x, width * 0.12);
    const limit = Math.max(240, innerHeight * 0.62);
    const lines = LINE * Math.max(0, ...this.nodes.data().map((node) => node.servers.length));
    const tallest = (limit - MARGIN.top - MARGIN.bottom - 2 * lines) / (high - low || 1);
    const across = Math.min((width - 2 * side) / (right - left || 1), tallest);
    const along = Math.min(across * (width < NARROW ? 1.5 : 1), tallest); // a phone is higher than it is wide
    const height = Math.max(220, (high - low) * along + MARGIN.top + MARGIN.bottom + 2 * lines);
    const begin = (width - (right - left) * across) / 2;
    this.at = new Map(
      nodes.map((node) => [node.name, [begin + (node.x - left) * across, MARGIN.top + lines + (node.y - low) * along]]),
    );
    for (const sheet of this.sheets) sheet.attr("viewBox", `0 0 ${width} ${height}`).attr("height", height);
    this.zoom.translateExtent([[-width / 2, -height / 2], [1.5 * width, 1.5 * height]]);
    this.placeNodes();
    this.curves = new Map(this.links.data().map((link) => [link.key, curve(this.at.get(link.src), this.at.get(link.dst))]));
    this.links.select(".reach").attr("d", (link) => this.curves.get(link.key).path);
    this.links.select(".line").attr("d", (link) => this.curves.get(link.key).path);
    this.placeLabels();
    this.shown.forEach((seen) => (seen.width = null));
    if (this.last) this.show(this.last.tick, this.last.options);
  }

  // No element here has a transform of its own: a browser paints what shares one far quicker, and there are thousands.
  placeNodes() {
    this.nodes.each((node, index, groups) => {
      const [x, y] = this.at.get(node.name), group = select(groups[index]);
      group.selectAll("circle").attr("cx", x).attr("cy", y);
      group.selectAll("rect").attr("x", (_, place) => x - 11 + 25 * place).attr("y", y - 11);
    });
  }

  // A name stands where its node's cables leave most room, inside the map; one that would cover another waits for a
  // pointer. Servers are named first.
  placeLabels() {
    const around = new Map(this.network.nodes.map((node) => [node.name, []]));
    for (const { src, dst } of this.network.links) {
      const [ax, ay] = this.at.get(src), [bx, by] = this.at.get(dst);
      around.get(src).push(Math.atan2(by - ay, bx - ax));
    }
    const width = this.container.clientWidth;
    const taken = this.network.nodes.map((node) => box(this.at.get(node.name), [-5, -5, 5, 5]));
    const labels = this.labels.nodes().map((label) => ({ label, node: select(label).datum() }));
    labels.sort((one, other) => other.node.servers.length - one.node.servers.length || (around.get(other.node.name).length - around.get(one.node.name).length));
    for (const { label, node } of labels) {
      const lines = node.servers.length;
      const reach = lines ? 16 : 9;
      const long = LETTER * Math.max(node.name.length, ...node.servers.map((server) => server.name.length + 6));
      const space = ([angle, dx, dy]) => {
        const apart = around.get(node.name).map((other) => Math.abs(Math.atan2(Math.sin(angle - other), Math.cos(angle - other))));
        const place = box(this.at.get(node.name), extent(dx, dy, reach, long, lines));
        const outside = place[0] < 0 || place[2] > width;
        const [x, y] = this.at.get(node.name);
        const under = around.get(node.name).flatMap((other) => NEAR.filter((far) => inside(place, x + far * Math.cos(other), y + far * Math.sin(other))));
        return Math.min(3, ...apart) - UNDER * under.length - (dx ? 0.35 : 0) - (outside ? 9 : 0) - (taken.some((other) => covers(place, other)) ? 4 : 0);
      };
      const [, dx, dy, anchor] = SIDES.reduce((best, each) => (space(each) > space(best) + 1e-6 ? each : best));
      const place = box(this.at.get(node.name), extent(dx, dy, reach, long, lines));
      const quiet = !lines && taken.some((other) => covers(place, other));
      if (!quiet) taken.push(place);
      const y = dy > 0 ? reach + 11 : dy < 0 ? -reach - LINE * lines - 2 : 4 - 6 * lines;
      const [at, down] = this.at.get(node.name);
      select(label).attr("text-anchor", anchor).attr("y", down + y).classed("quiet", quiet).selectAll("tspan").attr("x", at + dx * reach);
    }
  }

  // Show a tick. options: quantity, borders (of price, s), widest (bit/s), selected.
  show(tick, options) {
    this.last = { tick, options };
    if (!this.curves) return; // it has no width yet, and is shown as soon as it has one
    const colour = colouring(options);
    const cables = new Set(tick.down.links.flatMap(([a, b]) => [`${a}>${b}`, `${b}>${a}`]));
    const dead = new Set(tick.down.nodes);
    this.nodes.selectAll("rect").style("fill", (server) => colour(tick.servers[server.index]));
    this.labels.selectAll("tspan.state").text((server) => {
      if (tick.down.servers.includes(server.name)) return `${server.name}: failed`;
      const state = tick.servers[server.index];
      return `${server.name} ${options.quantity === "price" ? ms(state.price) : state.utilization.toFixed(2)}`;
    });
    this.cross(tick, cables, dead);
    this.light(tick, options.selected);
    this.down = (link) => cables.has(link.key) || dead.has(link.src) || dead.has(link.dst);
    this.showLinks(0);
  }

  // The links from a place on: some hundred, and the next ones in the next frame.
  showLinks(from) {
    cancelAnimationFrame(this.waiting);
    const { tick, options } = this.last, { curves, shown } = this;
    const colour = colouring(options), fine = this.network.nodes.length > MANY ? 0.5 : 1;
    for (const group of this.groups.slice(from, from + AT_ONCE)) {
      const link = select(group).datum(), state = tick.links[link.index], seen = shown[link.index];
      const fails = this.down(link);
      const next = {
        colour: fails ? "var(--soft)" : colour(state),
        width: fails ? 1.5 : Math.round(2 * fine * (1.2 + 8 * Math.sqrt(Math.min(state.load / options.widest, 1)))) / 2,
        fails,
      };
      const [, line, arrow] = group.children;
      if (next.colour !== seen.colour) line.style.stroke = arrow.style.fill = next.colour;
      if (next.width !== seen.width) {
        line.style.strokeWidth = next.width;
        arrow.setAttribute("d", head(3 * fine + next.width * 0.62, curves.get(link.key)));
      }
      if (fails !== seen.fails) group.classList.toggle("down", fails);
      shown[link.index] = next;
    }
    this.busy = from + AT_ONCE < this.groups.length; // nothing else is drawn in those frames
    if (this.busy) this.waiting = requestAnimationFrame(() => this.showLinks(from + AT_ONCE));
  }

  cross(tick, cables, dead) {
    const gone = this.network.servers.filter((server) => tick.down.servers.includes(server.name));
    const places = [
      ...[...cables].filter((key) => key.split(">")[0] < key.split(">")[1]).map((key) => this.middle(key)),
      ...[...dead].map((name) => this.at.get(name)),
      ...gone.map((server) => this.at.get(server.node)),
    ];
    this.crosses
      .selectAll("path")
      .data(places)
      .join("path")
      .attr("d", "M-6 -6L6 6M-6 6L6 -6")
      .attr("transform", ([x, y]) => `translate(${x},${y})`);
  }

  middle(key) {
    const [[ax, ay], [bx, by]] = key.split(">").map((name) => this.at.get(name));
    return [(ax + bx) / 2, (ay + by) / 2];
  }

  // The routes of the selected session: each link in its server's colour, as wide as its share; the copies on the links
  // of trees in the colour of the destinations that they owe, which stand beside it.
  light(tick, selected) {
    const session = selected?.kind === "session" ? selected.key : null;
    const carried = new Map(); // link -> server, or what a copy owes -> {weight, colour, label}
    const copiers = new Map(); // node -> the most copies that are made there of one packet
    for (const [text, weight] of session ? (tick.decided[session] ?? []) : []) {
      const { links, server, copies } = route(text);
      const known = this.store.session.get(session);
      (copies?.filter(({ link }) => link) ?? links.map((link) => ({ link }))).forEach(({ link, owes }) => {
        const kind = owes ? owes.join(",") : (server ?? "");
        const shares = carried.get(link) ?? new Map();
        const colour = owes ? hue(shade(known, owes)) : server == null ? "var(--hue0)" : hue(this.store.serverIndex.get(server));
        const label = owes ? owed(owes, known.destinations.length) : this.store.serverIndex.get(server) >= HUES ? server : ""; // its colour is another's too
        carried.set(link, shares.set(kind, { colour, label, weight: weight + (shares.get(kind)?.weight ?? 0) }));
      });
      for (const { at, delivers, onto } of copies ? made(known, copies) : [])
        copiers.set(at, Math.max(onto.length + delivers, copiers.get(at) ?? 0));
    }
    const strands = [...carried].flatMap(([link, shares]) =>
      [...shares].map(([kind, { weight, colour, label }], index) => ({
        key: `${link}@${kind}`, link, weight, colour, label, index, count: shares.size,
        sum: [...shares.values()].reduce((total, each) => total + each.weight, 0),
      })),
    );
    this.copying(copiers);
    this.plane.classed("lighting", session !== null);
    this.links.classed("selected", (link) => selected?.kind === "link" && selected.key === link.key);
    this.nodes.classed("selected", (node) => {
      if (selected?.kind === "session") return this.store.session.get(session).source === node.name;
      if (selected?.kind === "server") return node.servers.some((server) => server.name === selected.key);
      return selected?.kind === "node" && selected.key === node.name;
    });
    const group = session && this.store.session.get(session).kind === "multicast" ? this.store.session.get(session).destinations : [];
    this.nodes.classed("owed", (node) => group.includes(node.name));
    const lines = this.lit.selectAll("g").data(strands, (each) => each.key);
    const fresh = lines.enter().append("g");
    fresh.append("path");
    fresh.append("text");
    lines.exit().remove();
    const all = fresh.merge(lines);
    all
      .select("path")
      .attr("d", (each) => this.curves.get(each.link).path)
      .style("stroke", (each) => each.colour)
      .style("stroke-width", (each) => 2 + 8 * each.sum)
      .style("stroke-dasharray", (each) => `10 ${DASH * each.count - 10}`)
      .style("--from", (each) => `${-DASH * each.index}px`)
      .style("--to", (each) => `${-DASH * (each.index + each.count)}px`)
      .style("animation-duration", (each) => `${0.9 * each.count}s`);
    const words = (each) => (each.label ? `${each.label} ${share(each.weight)}` : each.index ? "" : share(each.sum));
    const width = this.container.clientWidth;
    all
      .select("text")
      .attr("transform", (each) => {
        const [x, y] = this.curves.get(each.link).label, half = (LETTER * words(each).length) / 2;
        return `translate(${Math.max(half, Math.min(x, width - half))},${y})`;
      })
      .attr("dy", (each) => (each.label ? `${1.1 * each.index}em` : 0))
      .text(words);
  }

  // Marks where one packet becomes several: node -> how many.
  copying(copiers) {
    const marks = this.copiers
      .selectAll("g")
      .data([...copiers], ([name]) => name)
      .join((enter) => {
        const mark = enter.append("g");
        mark.append("path").attr("d", "M0 -11L11 0L0 11L-11 0Z");
        mark.append("text").attr("dy", "0.35em");
        return mark;
      })
      .attr("data-copies", ([name]) => name)
      .attr("transform", ([name]) => `translate(${this.at.get(name)})`);
    marks.select("text").text(([, count]) => count);
  }
}

// The colour of a link or server at a tick.
function colouring({ quantity, borders }) {
  const steps = quantity === "price" ? borders : UTILIZATION;
  return (state) => (state[quantity] == null ? "var(--rule)" : `var(--scale${step(state[quantity], steps)})`);
}

// What a name covers, as [left, top, right, bottom] about its node, on one of its sides.
function extent(dx, dy, reach, long, lines) {
  const high = 14 * (1 + lines);
  const [left, right] = dx > 0 ? [reach, reach + long] : dx < 0 ? [-reach - long, -reach] : [-long / 2, long / 2];
  const [top, bottom] = dy > 0 ? [reach, reach + high] : dy < 0 ? [-reach - high, -reach] : [-high / 2, high / 2];
  return [left, top, right, bottom];
}

const box = ([x, y], [left, top, right, bottom]) => [x + left, y + top, x + right, y + bottom];
const inside = ([left, top, right, bottom], x, y) => left < x && x < right && top < y && y < bottom;
const covers = (one, other) => one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];

// A link's curve between two places: its path, its arrow's place and direction, and where a word may stand.
function curve([ax, ay], [bx, by]) {
  const length = Math.hypot(bx - ax, by - ay) || 1;
  const bend = BEND * Math.min(1, 260 / length);
  const cx = (ax + bx) / 2 - bend * (by - ay), cy = (ay + by) / 2 + bend * (bx - ax);
  const gap = Math.min(11, length / 4);
  const near = (x, y) => {
    const far = Math.hypot(cx - x, cy - y) || 1;
    return [x + (gap * (cx - x)) / far, y + (gap * (cy - y)) / far];
  };
  const [sx, sy] = near(ax, ay), [ex, ey] = near(bx, by);
  const t = 0.6, u = 1 - t;
  const px = u * u * sx + 2 * u * t * cx + t * t * ex, py = u * u * sy + 2 * u * t * cy + t * t * ey;
  const dx = u * (cx - sx) + t * (ex - cx), dy = u * (cy - sy) + t * (ey - cy), far = Math.hypot(dx, dy) || 1;
  const f = (value) => value.toFixed(1);
  const away = 14 / length;
  return {
    path: `M${f(sx)} ${f(sy)}Q${f(cx)} ${f(cy)} ${f(ex)} ${f(ey)}`,
    head: { at: [px, py], along: [dx / far, dy / far] },
    label: [(sx + 2 * cx + ex) / 4 - away * (by - ay), (sy + 2 * cy + ey) / 4 + away * (bx - ax) + 4],
  };
}

// The arrow of a curve, half as wide as said.
function head(half, { head: { at: [x, y], along: [dx, dy] } }) {
  const point = (ahead, aside) => `${(x + half * (ahead * dx - aside * dy)).toFixed(1)} ${(y + half * (ahead * dy + aside * dx)).toFixed(1)}`;
  return `M${point(1.25, 0)}L${point(-0.75, 1)}L${point(-0.75, -1)}Z`;
}
