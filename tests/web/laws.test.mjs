/** What holds whatever happens: cuts at any place, forgotten connections, restarts, an engine that does not answer. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./model.mjs";
import { settle } from "./stage.mjs";

const RUNS = 200;
const STEPS = 150;

/** Runs many worlds, each moved by its seed: `steps` are weighed by how often they stand there. */
async function worlds(prepare, check) {
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const world = new World(seed * 7919);
    const steps = prepare(world);
    for (let step = 0; step < STEPS; step += 1) {
      await steps[world.draw(steps.length)]();
      if (step % 5 === 0) await settle();
    }
    await world.calm();
    try {
      await check(world);
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
    world.line.close();
    assert.equal(world.stage.clock.timers, 0);
  }
}

/** Frames move often, the line breaks now and then, and time goes on. */
const moves = (world) => [
  ...[world.up, world.up, world.up, world.down, world.down, world.down].map((move) => move.bind(world)),
  () => world.cut(),
  () => world.stage.clock.advance(world.draw(800)),
  () => world.stage.clock.advance(world.draw(800)),
];

const CHANNELS = ["chat:a", "chat:b"];

/** Subscribes to everything from the beginning, and notes what comes: positions, and gaps. */
function listen(world) {
  world.seen = new Map(CHANNELS.map((name) => [name, []]));
  for (const name of CHANNELS) {
    const channel = world.line.subscribe(name, { since: "e1.0" });
    const seen = world.seen.get(name);
    channel.on("message", (_, { position }) => seen.push(position));
    channel.on("$gap", () => seen.push("gap"));
  }
}

const logOf = ({ model }, channel) => model.log.filter((entry) => entry.channel === channel).map(({ frame }) => frame.position);

test("for any cuts, and any connections forgotten, every publication is delivered once and in order", async () => {
  await worlds(
    (world) => {
      listen(world);
      let said = 0;
      const publish = () => world.model.publish(CHANNELS[world.draw(2)], (said += 1));
      return [...moves(world), publish, publish, () => world.model.forget()];
    },
    (world) => {
      for (const name of CHANNELS) assert.deepEqual(world.seen.get(name), logOf(world, name));
    },
  );
});

test("for any restart, and any history that is too short, what was lost is told and nothing comes twice", async () => {
  let gaps = 0;
  await worlds(
    (world) => {
      listen(world);
      world.model.retention = 4;
      const publish = () => world.model.publish(CHANNELS[world.draw(2)], 0);
      const restart = () => {
        if (world.draw(4) > 0) return;
        world.cut();
        world.model.restart();
      };
      return [...moves(world), publish, publish, publish, () => world.model.forget(), restart];
    },
    (world) => {
      for (const name of CHANNELS) {
        const seen = world.seen.get(name);
        const log = logOf(world, name);
        const places = seen.map((position) => (position === "gap" ? "gap" : log.indexOf(position)));
        for (const [at, place] of places.entries()) {
          const before = at === 0 ? -1 : places[at - 1];
          if (place !== "gap" && before !== "gap") assert.equal(place, before + 1);
        }
        const delivered = places.filter((place) => place !== "gap");
        assert.deepEqual(delivered, [...new Set(delivered)].sort((one, other) => one - other));
        if (places.at(-1) !== "gap" && log.length > 0) assert.equal(places.at(-1), log.length - 1);
        gaps += places.filter((place) => place === "gap").length;
      }
    },
  );
  assert.ok(gaps > RUNS);
});

test("for any cuts, and any answers that the engine does not give, publications are applied once and in order", async () => {
  await worlds(
    (world) => {
      world.published = new Map(CHANNELS.map((name) => [name, []]));
      world.answers = [];
      world.model.engine = () => ["taken", "taken", "lost", "refused"][world.draw(4)];
      const publish = () => {
        const name = CHANNELS[world.draw(2)];
        const payload = world.answers.length;
        world.published.get(name).push(payload);
        world.answers.push(world.line.subscribe(name).publish("message", payload));
      };
      return [...moves(world), publish, () => world.model.forget()];
    },
    async (world) => {
      world.model.engine = () => "taken";
      for (let rounds = 0; rounds < 10; rounds += 1) await world.calm();
      for (const name of CHANNELS) {
        const log = world.model.log.filter((entry) => entry.channel === name);
        assert.deepEqual(log.map(({ frame }) => frame.payload), world.published.get(name));
      }
      const positions = new Map(world.model.log.map(({ frame }) => [frame.payload, frame.position]));
      const answers = await Promise.all(world.answers);
      assert.deepEqual(answers, answers.map((_, payload) => ({ position: positions.get(payload) })));
    },
  );
});

test("for any cuts events are applied at most once and in order, and who is told that one was taken is told the truth", async () => {
  let unknown = 0;
  await worlds(
    (world) => {
      world.outcomes = [];
      const emit = () => {
        const payload = world.outcomes.length;
        world.outcomes.push(world.line.emit("save", payload).catch(({ code }) => code));
      };
      return [...moves(world), emit, emit, () => world.model.forget()];
    },
    async ({ model, outcomes }) => {
      const told = await Promise.all(outcomes);
      assert.deepEqual(model.applied, [...new Set(model.applied)].sort((one, other) => one - other));
      for (const [payload, outcome] of told.entries()) {
        if (outcome === "unavailable") unknown += 1;
        else assert.equal(outcome, payload);
        if (outcome === payload) assert.ok(model.applied.includes(payload));
      }
    },
  );
  assert.ok(unknown > 0);
});
