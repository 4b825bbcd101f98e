// Moves what several modules have alike, such as rich content, into one place.

const baseOf = (text) => /^[A-Za-z0-9_]+/.exec(text)[0];

/** The names that a type leads to, itself included. */
function closure({ types, enums }, name, found = new Set()) {
  if (found.has(name) || !(name in types || name in enums)) return found;
  found.add(name);
  for (const text of Object.values(types[name] ?? {})) closure({ types, enums }, baseOf(text), found);
  return found;
}

/** A type with all that it leads to, as text. */
function content(module, name) {
  const names = [...closure(module, name)].sort();
  return JSON.stringify(names.map((one) => [one, module.types[one] ?? module.enums[one]]));
}

/** Takes shared types out of the modules; returns { types, enums }. */
export function takeShared(modules) {
  const groups = new Map(); // a type's content: the modules that have it
  for (const module of modules) {
    for (const name of [...Object.keys(module.types), ...Object.keys(module.enums)]) {
      const key = content(module, name);
      const group = groups.get(key) ?? { name, names: closure(module, name), modules: [] };
      group.modules.push(module);
      groups.set(key, group);
    }
  }
  const repeated = [...groups.values()].filter(({ modules: having }) => having.length > 1);
  repeated.sort((a, b) => b.names.size - a.names.size || (a.name < b.name ? -1 : 1));
  const shared = { types: {}, enums: {} };
  const owners = new Map(); // a shared name: its content
  for (const { names, modules: having } of repeated) {
    const contents = [...names].map((name) => [name, content(having[0], name)]);
    if (contents.every(([name, text]) => (owners.get(name) ?? text) === text)) {
      for (const [name, text] of contents) owners.set(name, text);
    }
  }
  const moves = modules.flatMap((module) =>
    [...Object.keys(module.types), ...Object.keys(module.enums)]
      .filter((name) => owners.get(name) === content(module, name))
      .map((name) => [module, name]),
  );
  for (const [module, name] of moves) move(module, shared, name);
  return { types: sorted(shared.types), enums: sorted(shared.enums) };
}

function move(module, shared, name) {
  for (const kind of ['types', 'enums']) {
    if (!(name in module[kind])) continue;
    shared[kind][name] = module[kind][name];
    delete module[kind][name];
  }
}

const sorted = (object) => Object.fromEntries(Object.keys(object).sort().map((key) => [key, object[key]]));
