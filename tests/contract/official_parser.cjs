// AsyncAPI's own parser over the contract, and the patterns of its schemas as ECMA-262 reads them.
// Usage: NODE_PATH=<folder with @asyncapi/parser> node official_parser.cjs <folder of the contract>
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { Parser, fromFile } = require("@asyncapi/parser");

const WARNING = 1;
const LEVELS = ["error", "warning", "info", "hint"];

function* patterns(value) {
  if (value === null || typeof value !== "object") return;
  if (typeof value.pattern === "string") yield value.pattern;
  for (const inner of Object.values(value)) yield* patterns(inner);
}

function checkPatterns(folder) {
  for (const name of fs.readdirSync(folder).filter((file) => file.endsWith(".schema.json"))) {
    const schema = JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
    for (const pattern of patterns(schema)) {
      for (const flags of ["", "u"]) new RegExp(pattern, flags);
    }
  }
}

async function main(folder) {
  checkPatterns(folder);
  const { document, diagnostics } = await fromFile(new Parser(), path.join(folder, "asyncapi.yaml")).parse();
  for (const { severity, code, path: at, message } of diagnostics) {
    console.log(`${LEVELS[severity]} ${code} at ${at.join("/")}: ${message}`);
  }
  if (!document || diagnostics.some(({ severity }) => severity <= WARNING)) process.exitCode = 1;
  else console.log(`${document.operations().length} operations, ${document.messages().length} messages`);
}

main(process.argv[2]);
