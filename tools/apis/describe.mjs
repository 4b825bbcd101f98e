// Writes what methods.txt names into description.json: names, shapes and links, and no sentence of Wix's.
// node describe.mjs [file]
import { writeFileSync } from 'node:fs';
import { imported, versionOf, wantedModules } from './list.mjs';
import { argumentsOf, requestOf } from './probing.mjs';
import { Shapes } from './shapes.mjs';
import { takeShared } from './sharing.mjs';
import { readTypings } from './typings.mjs';

const REFERENCE = 'https://dev.wix.com/docs/api-reference/';
const READING = ['query', 'search', 'count', 'aggregate', 'list'];

const words = (name) => name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase().split(' ');
const pathOf = (url) => new URL(url, 'https://www.wixapis.com').pathname;

async function describedModule(typings, { packageName, reference, methods }) {
  const { meta, sdk } = await imported(packageName);
  const shapes = new Shapes(typings);
  const found = [];
  for (const { method, name } of methods) {
    found.push([name ?? method, await probed(typings, shapes, packageName, meta, sdk, method)]);
  }
  const described = found.map(([name, one]) => [name, describedMethod(shapes, one, reference)]);
  const { types, enums } = shapes;
  return { package: `${packageName} ${versionOf(packageName)}`, methods: Object.fromEntries(described), types, enums };
}

/** All that is found out by calling the SDK. */
async function probed(typings, shapes, packageName, meta, sdk, method) {
  const { request, answer } = typings.metaOf(packageName, method);
  const { parameters, codes, tags } = typings.sdkOf(packageName, sdk, method);
  const args = await argumentsOf(typings, sdk, method, parameters);
  const options = await requestOf(sdk, method, parameters.map(() => ({})));
  await shapes.noteFractionsOfAnswer(options, answer);
  const full = await shapes.noteFractionsOfRequest(sdk, method, args, request);
  return { method, request, answer, args, codes, tags, options, full, info: meta[method]() };
}

function describedMethod(shapes, { method, request, answer, args, codes, tags, options, full, info }, reference) {
  // The SDK sends a query as GET, so that a CDN can keep the answer, and as POST if it is long. REST documents POST.
  const isQuery = options.params && options.fallback?.[0].method === 'POST';
  const sent = isQuery ? options.fallback[0] : options;
  return {
    method: sent.method,
    path: pathTemplate(pathOf(isQuery ? sent.url : info.getUrl({ host: 'www.wixapis.com' })), info, args),
    carries: sent.params ? 'query' : sent.data === undefined ? 'nothing' : 'body',
    ...(isQuery && { sdkSendsGet: true }),
    ...(!isQuery && full.params?.has('.r') && { sdkPacksQuery: true }),
    reads: sent.method === 'GET' || READING.includes(words(method)[0]),
    arguments: args.map((one) => describedArgument(shapes, one, request)),
    answer: shapes.text(answer),
    codes,
    permissions: tags.permissions,
    ...(tags.scopes.length && { scopes: tags.scopes }),
    ...(tags.isDeprecated && { deprecated: { removal: tags.removal ?? null } }),
    reference: referenceOf(reference, options.methodFqn),
  };
}

function referenceOf(reference, fullName) {
  return REFERENCE + reference + (reference.endsWith('/') ? words(fullName.split('.').at(-1)).join('-') : '');
}

/** `/v3/products/:productId` becomes `/v3/products/{product.id}`, with the argument's place in the payload. */
function pathTemplate(path, { pathParams }, args) {
  const names = Object.keys(pathParams);
  return path
    .split('/')
    .map((segment) => {
      const name = names.find((one) => segment === `:${one}`);
      return name ? `{${placeOf(name, args)}}` : segment;
    })
    .join('/');
}

/** Wix writes the parameter `{product.id}` as productId. */
function placeOf(name, args) {
  const isSame = ({ at }) => at.join('.') === name || words(at.join(' ')).join(' ') === words(name).join(' ');
  const nested = ({ at }) => at.length > 1 && at.map((key) => words(key).join(' ')).join(' ') === words(name).join(' ');
  const found = args.find(isSame) ?? args.find(nested);
  if (!found) throw new Error(`no argument for the path's ${name}`);
  return found.at.join('.');
}

function describedArgument(shapes, { name, at, isJoined, isRequired, paths }, request) {
  const type = shapes.at(request, at);
  if (!type) throw new Error(`REST knows no ${at.join('.')}`);
  return {
    name: name.replace(/^_/, ''),
    at: at.join('.'),
    type: shapes.text(shapes.typings.withoutNull(type)),
    ...(isRequired && { required: true }),
    ...(isJoined && { joined: true }),
    ...(paths.length && { requires: paths.map((path) => path.join('.')).sort() }),
  };
}

const wanted = wantedModules();
const typings = readTypings([...new Set(wanted.map(({ packageName }) => packageName))]);
const modules = {};
for (const module of wanted) {
  modules[module.name] = await describedModule(typings, module);
}
const description = { shared: takeShared(Object.values(modules)), modules };
const target = process.argv[2] ?? new URL('description.json', import.meta.url);
writeFileSync(target, `${JSON.stringify(description, null, 1)}\n`);
