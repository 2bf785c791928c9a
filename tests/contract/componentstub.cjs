// Stands in for the components fc3 and ros under the real CLI: keeps versions, alias and trigger in a file, as
// Function Compute does, and writes down each call. Which of the two it is, its folder's name tells.
// Run by itself, with a command and its arguments, it does the same without the CLI, which takes half a second per call.
const fs = require('fs');
const path = require('path');

const home = path.dirname(__dirname);
const kind = path.basename(__dirname);
const file = path.join(home, 'state.json');

const load = () =>
  fs.existsSync(file) ? JSON.parse(fs.readFileSync(file)) : { calls: [], versions: [], alias: null, trigger: null };

function call(inputs, act) {
  const state = load();
  const args = inputs.args.filter((word) => !['-o', 'json', '--silent'].includes(word));
  const words = [inputs.command, ...args];
  state.calls.push([kind, ...words]);
  fs.writeFileSync(file, JSON.stringify(state));
  if (process.env.STUB_FAILS === words.slice(0, 2).join(' ')) throw new Error(process.env.STUB_REASON || 'refused');
  const option = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
  const answer = act(state, args, option, inputs.props);
  fs.writeFileSync(file, JSON.stringify(state));
  return answer;
}

class Component {
  async getSchema() {
    const schema = path.join(home, 'schema.json');
    return kind === 'fc3' && fs.existsSync(schema) ? fs.readFileSync(schema, 'utf8') : '';
  }

  async deploy(inputs) {
    return call(inputs, (state, args, option, props) => {
      if (kind === 'ros') return {};
      const trigger = args.includes('--trigger') && props.triggers.find((one) => one.triggerName === option('--trigger'));
      if (args.includes('--function')) state.latest = props;
      if (trigger) {
        if (trigger.qualifier !== (state.alias || {}).aliasName) throw new Error('no such alias');
        state.trigger = trigger;
      }
      return {};
    });
  }

  async version(inputs) {
    return call(inputs, (state, args) => {
      if (args[0] === 'list') return state.versions;
      state.versions.push({ versionId: String(state.versions.length + 1) });
      return state.versions[state.versions.length - 1];
    });
  }

  async alias(inputs) {
    return call(inputs, (state, args, option) => {
      if (args[0] === 'get') {
        if (!state.alias) throw new Error('AliasNotFound');
        return state.alias;
      }
      if (!state.versions.some((one) => one.versionId === option('--version-id'))) throw new Error('no such version');
      state.alias = { ...state.alias, aliasName: option('--alias-name'), versionId: option('--version-id') };
      // What a call leaves out stays as it was.
      if (option('--vw')) state.alias.additionalVersionWeight = JSON.parse(option('--vw'));
      return state.alias;
    });
  }

  async invoke(inputs) {
    return call(inputs, () => ({ body: process.env.STUB_ANSWERS || '{"messages": [], "summary": {"created": 0}}' }));
  }

  async remove(inputs) {
    return call(inputs, (state) => {
      if (kind === 'fc3') Object.assign(state, { versions: [], alias: null, trigger: null });
      return {};
    });
  }
}

module.exports = Component;
module.exports.default = Component;

if (require.main === module) {
  const [, , command, ...args] = process.argv;
  const props = JSON.parse(fs.readFileSync(path.join(home, 'props.json')));
  new Component()[command]({ command, args, props }).then(
    (answer) => console.log(JSON.stringify(answer)),
    (error) => {
      // As the CLI does: with -o json it exits with 0, and does not print the reason.
      const isQuery = args.includes('-o');
      console.log(isQuery ? error.name : error.message);
      process.exitCode = isQuery ? 0 : 1;
    },
  );
}
