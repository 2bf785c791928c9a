'use strict';
// Runs named checks with a client, one after the other, and prints the result of each.

const assert = require('assert');

const settings = JSON.parse(process.argv[2]);

async function run(packageName, checks) {
  const { version } = require(`${packageName}/package.json`);
  const found = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      found[name] = null;
    } catch (error) {
      found[name] = String((error && (error.stack || error.message || JSON.stringify(error))) || error);
    }
  }
  process.stdout.write(`${JSON.stringify([{ client: packageName, version, checks: found }])}\n`, () => process.exit(0));
}

async function fails(promise, text) {
  let error;
  try {
    await promise;
  } catch (caught) {
    error = caught;
  }
  assert.ok(error, 'the call succeeds');
  const shown = `${error.name} ${error.code} ${error.message} ${JSON.stringify(error)}`;
  assert.ok(shown.includes(text), `${shown} does not name ${text}`);
}

module.exports = { assert, fails, run, settings };
