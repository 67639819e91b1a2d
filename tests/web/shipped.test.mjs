/** What is shipped: its size, its declarations, and that it needs nothing else. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SDK = join(ROOT, "src/openline/web/sdk");
const LIMIT = 16 * 1024;
/** What only a page loads whose messages outlive it, or where no WebSocket gets through. */
const MORE_LIMIT = 3 * 1024;

/** Files below a folder, by their path within it. */
function filesOf(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name))).sort();
}

/** The modules that a page loads at once, by following their imports. */
function modulesFrom(name, found = new Map()) {
  if (found.has(name)) return found;
  const text = readFileSync(join(SDK, name), "utf8");
  found.set(name, text);
  for (const [, target] of text.matchAll(/^(?:import|export) .* from "(.*)";$/gm)) {
    modulesFrom(join(name, "..", target), found);
  }
  return found;
}

const modules = modulesFrom("openline.js");
/** What else is loaded when a module is wanted that not every page wants. */
function moreWith(name) {
  const more = modulesFrom(name);
  for (const name of modules.keys()) more.delete(name);
  return more;
}

const shelf = moreWith("openline/stay.js");
const http = moreWith("openline/http.js");
const gzipped = (text) => gzipSync(text, { level: 9 }).length;
/** What a browser runs of it. */
const withoutComments = (text) => text.replace(/\/\*\*.*?\*\//gs, "").replace(/^\s*\/\/.*$/gm, "").replace(/\n\s*/g, "\n");

test("what every page loads has less than 16 KB gzipped, what outlives a page or goes over HTTP less than 3 KB more", (t) => {
  const sizeOf = (texts) => [...texts].reduce((sum, text) => sum + gzipped(withoutComments(text)), 0);
  const [always, shelved, fallen] = [modules, shelf, http].map((texts) => sizeOf(texts.values()));
  t.diagnostic(`${always} bytes, without comments, one by one; ${shelved} more, or ${fallen} more`);
  assert.ok(always < LIMIT);
  assert.ok(shelved < MORE_LIMIT);
  assert.ok(fallen < MORE_LIMIT);
});

test("every module that is there is loaded, and lies where the server looks for it", () => {
  const scripts = filesOf(SDK).filter((name) => name.endsWith(".js"));
  assert.deepEqual([...modules.keys(), ...shelf.keys(), ...http.keys()].sort(), scripts);
  assert.match(modules.get("openline/line.js"), /import\("\.\/stay\.js"\)/);
  assert.match(modules.get("openline/ways.js"), /import\("\.\/http\.js"\)/);
  for (const name of scripts) assert.match(name, /^openline(\/[a-z]+)?\.js$/);
});

test("no module is longer than 400 lines", () => {
  for (const [name, text] of [...modules, ...shelf, ...http]) assert.ok(text.split("\n").length <= 400, name);
});

test("nothing is needed to run it", () => {
  const { dependencies = {} } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  assert.deepEqual(dependencies, {});
});

test("the types are right and the declarations are those of the sources", () => {
  const folder = mkdtempSync(join(tmpdir(), "openline-types-"));
  try {
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    execFileSync(process.execPath, [tsc, "--project", ROOT, "--declarationDir", folder], { stdio: "pipe", encoding: "utf8" });
    const shipped = join(SDK, "types");
    assert.deepEqual(filesOf(shipped), filesOf(folder));
    for (const name of filesOf(folder)) {
      assert.equal(readFileSync(join(shipped, name), "utf8"), readFileSync(join(folder, name), "utf8"), "run npm run types");
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
