// Calls every method of wixvisitor.apis in the real SDK, with arguments made of a seed, and writes what it sends, and the
// same arguments as REST has them: node apis.mjs SEED > lines of JSON
import { readFileSync } from 'node:fs';
import { imported, inPackage, wantedModules } from '../../tools/apis/list.mjs';
import { argumentsOf, parametersFor } from '../../tools/apis/probing.mjs';
import { Samples } from '../../tools/apis/samples.mjs';
import { Shapes } from '../../tools/apis/shapes.mjs';
import { readTypings } from '../../tools/apis/typings.mjs';

const { createClient, OAuthStrategy } = await import(inPackage('@wix/sdk', 'build/index.js'));
const TOKENS = {
  accessToken: { value: 'OauthNG.JWS.a.b.c', expiresAt: Math.floor(Date.now() / 1000) + 14_000 },
  refreshToken: { value: 'JWS.r', role: 'visitor' },
};
const LONG = 'x'.repeat(4_100); // with it the SDK sends a query as POST

let sent;
globalThis.fetch = async (input, init = {}) => {
  const url = new URL(input);
  sent = {
    method: init.method ?? 'GET',
    path: decodeURIComponent(url.pathname),
    query: [...url.searchParams],
    body: init.body === undefined ? null : JSON.parse(init.body),
    headers: Object.fromEntries(new Headers(init.headers)),
  };
  return new Response('{}', { headers: { 'content-type': 'application/json' } });
};

/** Numbers from 0 to 1, the same for the same seed (the generator of Park and Miller). */
function random(seed) {
  let state = (seed * 48271 + 1) % 2147483647;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

function samplesOf(typings, seed) {
  const next = random(seed);
  return new Samples(typings, {
    choose: (count) => Math.floor(next() * count),
    wants: (depth) => depth < 6 && next() < 0.7 ** (depth - 1),
    number: (at) => ({ sdk: at / 2, rest: at / 2 }),
  });
}

async function call(typings, { packageName }, method, described, seed) {
  const { sdk } = await imported(packageName);
  const { request } = typings.metaOf(packageName, method);
  const { parameters } = typings.sdkOf(packageName, sdk, method);
  const args = await argumentsOf(typings, sdk, method, parameters);
  const samples = samplesOf(typings, seed);
  const shapes = new Shapes(typings);
  const pairs = args
    .map((one) => [one, valueOf(samples, shapes, one, request, described)])
    .filter(([one, value]) => value && (one.isRequired || samples.wants(2)));
  const module = await import(inPackage(packageName, 'build/es/index.mjs'));
  withoutSecondIds(pairs);
  const client = createClient({ modules: { module }, auth: OAuthStrategy({ clientId: 'c', tokens: TOKENS }) });
  if (described.sdkSendsGet) lengthen(pairs);
  const values = parametersFor(pairs.map(([one, value]) => [one, value.sdk]));
  sent = undefined;
  await client.module[method](...parameters.map((_, index) => values[index]));
  const given = pairs.map(([one, value]) => [one.name.replace(/^_/, ''), value.rest]);
  return { request: sent, arguments: Object.fromEntries(given) };
}

function valueOf(samples, shapes, one, request, { path }) {
  if (path.includes(`{${one.at.join('.')}}`)) {
    const id = `id ${++samples.count} ü`; // the SDK puts it into the path as it is
    return { sdk: id, rest: id };
  }
  return samples.make(one.type, shapes.at(request, one.at), one.paths);
}

/** An id that is an argument of its own is not given again inside the object. */
function withoutSecondIds(pairs) {
  for (const [one] of pairs.filter(([{ at }]) => at.length > 1)) {
    const [, outer] = pairs.find(([{ at }]) => at.join('.') === one.at.slice(0, -1).join('.')) ?? [];
    if (outer) for (const side of ['sdk', 'rest']) for (const key of ['_id', 'id']) delete outer[side][key];
  }
}

/** Makes a query longer than the SDK sends as GET. */
function lengthen(pairs) {
  for (const [one, value] of pairs) {
    const isFilter = one.name === 'filter';
    if (!isFilter && !['query', 'search'].includes(one.name)) continue;
    for (const side of ['sdk', 'rest']) {
      if (isFilter) value[side] = { long: LONG };
      else value[side] = { ...value[side], filter: { long: LONG } };
    }
  }
}

const seed = Number(process.argv[2]);
const description = JSON.parse(readFileSync(new URL('../../tools/apis/description.json', import.meta.url)));
const wanted = wantedModules();
const typings = readTypings(wanted.map(({ packageName }) => packageName));
for (const [index, module] of wanted.entries()) {
  for (const [at, { method }] of module.methods.entries()) {
    const described = description.modules[module.name].methods[method];
    const name = { module: module.name, method };
    try {
      const line = await call(typings, module, method, described, seed * 10_007 + index * 101 + at);
      process.stdout.write(`${JSON.stringify({ ...name, ...line })}\n`);
    } catch (error) {
      process.stdout.write(`${JSON.stringify({ ...name, error: error.stack })}\n`);
    }
  }
}
