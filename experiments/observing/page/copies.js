// Where a duplication tree makes copies: what each copy owes on arrival, and what goes on from there.

import { nodeOf, stageOf } from "./words.js";

// For each copy the one that it was made of, as its place in the tree; -1 where it leaves the source. It is the least
// that leads there and owes all that this one owes, as in pricing.duplication.
function origins(copies) {
  return copies.map(({ step, owes }, place) => {
    const [src] = step.split(">");
    const found = copies.flatMap((other, before) =>
      before < place && other.step.split(">")[1] === src && owes.every((name) => other.owes.includes(name)) ? [before] : [],
    );
    return found.reduce((best, each) => (best < 0 || copies[each].owes.length < copies[best].owes.length ? each : best), -1);
  });
}

// Every arrival at which one packet becomes several: {at, owes, delivers, onto: [{to, owes}]}.
export function made(session, copies) {
  const from = origins(copies);
  const arrivals = [{ place: -1, at: session.source, owes: session.destinations }, ...copies.map(({ step, owes }, place) => ({ place, at: step.split(">")[1], owes }))];
  const last = Math.max(...arrivals.map(({ at }) => stageOf(at))); // where destinations are reached
  return arrivals
    .map(({ place, at, owes }) => ({
      at: nodeOf(at), owes, delivers: stageOf(at) === last && owes.includes(nodeOf(at)),
      onto: copies.flatMap(({ step, owes: rest }, next) => (from[next] === place ? [{ to: step.split(">")[1], owes: rest }] : [])),
    }))
    .filter(({ delivers, onto }) => onto.length + delivers > 1);
}

// The colour of a destination set, the same in every tree of its session.
export const shade = (session, owes) => owes.reduce((sum, name) => sum + 2 ** session.destinations.indexOf(name), 0) - 1;
