// Numbers and names as people read them: ms, Mbit/s, shares.

export const ms = (seconds) => {
  if (seconds == null) return "?";
  if (seconds >= 10) return seconds < 1000 ? `${seconds.toFixed(0)} s` : "> 999 s";
  const value = seconds * 1e3;
  return `${value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ms`;
};

// Below 0.01 Mbit/s two digits would say nothing.
export const mbit = (bits) => (bits > 0 && bits < 1e4 ? `${(bits / 1e3).toPrecision(2)} kbit/s` : `${(bits / 1e6).toFixed(2)} Mbit/s`);

export const share = (ratio) => {
  if (ratio == null) return "?";
  const value = ratio * 100;
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(1) : value.toFixed(2)} %`;
};

export const clock = (seconds) => new Date(seconds * 1e3).toLocaleTimeString([], { hour12: false });

// A place is a node, and how many functions a packet has been through: "B", "B/1".
export const nodeOf = (place) => place.split("/")[0];
export const stageOf = (place) => Number(place.split("/")[1] ?? 0);

// A route's text is "A>B>C@server", "here@server" or "A>B>C": its links, and its server or null. That of a tree is
// "A>B{x,y} B>x{x} B>y{y}": a copy on each link, and the destinations that it owes; with places for nodes where packets
// go through functions, which are steps on no link.
const read = (text) => {
  if (text.includes("{")) {
    const copies = text.split(" ").map((each) => {
      const [step, owed] = each.slice(0, -1).split("{");
      const [src, dst] = step.split(">").map(nodeOf);
      return { step, link: src === dst ? null : `${src}>${dst}`, owes: owed.split(",") };
    });
    return { nodes: [], server: null, links: copies.flatMap(({ link }) => link ?? []), copies };
  }
  const [way, server = null] = text.split("@");
  const nodes = way === "here" ? [] : way.split(">");
  return { nodes, server, links: nodes.slice(1).map((node, place) => `${nodes[place]}>${node}`), copies: null };
};

const known = new Map(); // the same routes come with every tick
export const route = (text) => {
  if (!known.has(text)) known.set(text, read(text));
  return known.get(text);
};

export const NAMED = 3; // destinations of a copy that are named where there is little room
export const owed = (names, of = 0) => (names.length > NAMED ? `{${names.length}${of ? ` of ${of}` : ""}}` : `{${names.join(", ")}}`);

// How far a tick is from the best there is, and of what: a market makes its cost least, not delays.
export const judged = (tick) => (tick.market ? [tick.market.gap, "cost above the least"] : [tick.gap, "delay above the optimum"]);

export const HUES = 6;
export const hue = (index) => `var(--hue${index % HUES})`;

// What a surface is filled with: from the seventh on the hues come again, striped, from the thirteenth on the other way.
const STRIPES = [null, 45, 135];
export const filled = (index) => {
  const angle = STRIPES[Math.floor(index / HUES) % STRIPES.length];
  return angle == null ? hue(index) : `repeating-linear-gradient(${angle}deg, var(--paper) 0 1.5px, ${hue(index)} 0 5px)`;
};
