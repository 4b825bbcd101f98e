// Reads methods.txt, and says where a package's parts are.
import { readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The modules of methods.txt: [{ name, packageName, reference, methods: [{ method, name? }] }]. */
export function wantedModules() {
  const modules = [];
  for (const line of readFileSync(here('methods.txt'), 'utf8').split('\n')) {
    if (!line.trim() || line.startsWith('#')) continue;
    const words = line.trim().split(/\s+/);
    if (line.startsWith(' ')) {
      const [method, , name] = words;
      modules.at(-1).methods.push({ method, name });
    } else {
      const [name, packageName, reference] = words;
      modules.push({ name, packageName, reference, methods: [] });
    }
  }
  return modules;
}

/** A file of an installed package. */
export const inPackage = (packageName, path) => here(`node_modules/${packageName}/${path}`);

/** A package's functions and those of its `meta` entry, imported. */
export async function imported(packageName) {
  const [meta, sdk] = await Promise.all(
    ['meta', 'index.typings'].map((name) => import(pathToFileURL(inPackage(packageName, `build/es/${name}.mjs`)))),
  );
  return { meta, sdk };
}

/** The version of an installed package. */
export const versionOf = (packageName) => JSON.parse(readFileSync(inPackage(packageName, 'package.json'))).version;

/** What the SDK calls for a method: a query has a function that takes the query, and one that builds it. */
export function sdkName(sdk, method) {
  const typed = `typed${method[0].toUpperCase()}${method.slice(1)}`;
  return typed in sdk ? typed : method;
}
