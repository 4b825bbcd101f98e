// Values for the SDK's arguments and the same values as REST has them, made by walking both types side by side.
import { REST_NAMES } from './typings.mjs';

const SDK_NAMES = Object.fromEntries(Object.entries(REST_NAMES).map(([sdk, rest]) => [rest, sdk]));
// Wix's own address type: the SDK calls some of its fields otherwise.
const ADDRESS_NAMES = { formattedAddress: 'formatted', geocode: 'location', addressLine: 'addressLine1' };
const ADDRESS_ANSWERS = ['countryFullname', 'subdivisionFullname']; // of answers; the SDK leaves them out of requests
const REST_OBJECTS = [
  { fields: ['id', 'width', 'height', 'url'], make: image },
  { fields: ['posters', 'id'], make: video },
  { fields: ['relativePath', 'url'], make: (at) => ({ sdk: `https://a.example/p/${at}`, rest: { relativePath: `/p/${at}`, url: `https://a.example/p/${at}` } }) },
  { fields: ['base', 'path'], make: (at) => ({ sdk: `https://a.example/p/${at}`, rest: { base: 'a.example', path: `/p/${at}` } }) },
];

function image(at) {
  const sdk = `wix:image://v1/i${at}/f${at}.png#originWidth=7&originHeight=9`;
  const file = `f${at}.png`;
  return { sdk, rest: { id: `i${at}`, height: 9, width: 7, altText: file, filename: file, url: sdk } };
}

function video(at) {
  return { sdk: `wix:video://v1/v${at}/f${at}.mp4`, rest: { id: `v${at}`, filename: `f${at}.mp4` } };
}

/**
 * Makes samples.
 * choose(count): an index below count; wants(depth): whether an optional key is there; number(): a number.
 */
export class Samples {
  constructor(typings, { choose, wants, number }) {
    Object.assign(this, { typings, choose, wants, number, count: 0, within: [] });
  }

  /** { sdk, rest } for a value that has this type in the SDK and that one in REST; undefined where there is none. */
  make(sdkType, restType, required = []) {
    const rest = this.typings.shape(restType);
    const sdk = this.typings.shape(sdkType);
    const at = ++this.count;
    switch (rest.kind) {
      case 'string':
        return same(sdk.kind === 'enum' ? sdk.values.at(-1) : `text ${at} ü/&`);
      case 'number':
        return this.number(at);
      case 'boolean':
        return same(at % 2 === 0);
      case 'enum':
        return same(rest.values[this.choose(rest.values.length)]);
      case 'date':
        return date(at);
      case 'bytes':
        return { sdk: new Uint8Array([at % 256, 0, 255]), rest: btoa(String.fromCharCode(at % 256, 0, 255)) };
      case 'any':
        return same({ any: at, list: [true, null, 'x'] });
      case 'array':
        return this.list(sdk, rest, required);
      case 'map':
        return this.map(sdk, rest, required);
      case 'object':
        return this.object(sdk, rest, required);
      default:
        return undefined;
    }
  }

  list(sdk, rest, required) {
    const items = [0, 1].slice(0, 1 + this.choose(2)).map(() => this.make(sdk.of ?? rest.of, rest.of, required));
    return pair(items.filter(Boolean), (side) => items.filter(Boolean).map((item) => item[side]));
  }

  map(sdk, rest, required) {
    const value = this.make(sdk.of ?? rest.of, rest.of, required);
    return value && { sdk: { key: value.sdk }, rest: { key: value.rest } };
  }

  object(sdk, rest, required) {
    if (sdk.kind === 'string') return this.objectOfText(rest);
    if (!rest.name || sdk.kind !== 'object') return same({});
    if (this.within.includes(rest.name)) return undefined; // a type that holds itself
    this.within.push(rest.name);
    const made = { sdk: {}, rest: {} };
    for (const property of rest.properties) this.add(made, property, sdk, required);
    this.within.pop();
    return made;
  }

  objectOfText(rest) {
    const names = rest.properties.map(({ name }) => name);
    const found = REST_OBJECTS.find(({ fields }) => fields.every((field) => names.includes(field)));
    return found?.make(++this.count);
  }

  add(made, property, sdk, required) {
    const { name } = property;
    if (ADDRESS_ANSWERS.includes(name)) return;
    const twin = [name, SDK_NAMES[name], ADDRESS_NAMES[name]].find((one) => one && sdk.properties.some((p) => p.name === one));
    const here = required.filter(([first]) => first === name);
    if (!twin || !(here.some(({ length }) => length === 1) || this.wants(this.within.length))) return;
    const sdkType = this.typings.typeOf(sdk.properties.find((one) => one.name === twin));
    const below = here.map((path) => path.slice(1)).filter(({ length }) => length);
    const value = this.make(sdkType, this.typings.typeOf(property), below);
    if (value) [made.sdk[twin], made.rest[name]] = [value.sdk, value.rest];
  }
}

const same = (value) => ({ sdk: value, rest: value });
const pair = (items, of) => (items.length ? { sdk: of('sdk'), rest: of('rest') } : undefined);

function date(at) {
  const value = new Date(Date.UTC(2026, 10, 1, 0, 0, at, 7));
  return { sdk: value, rest: value.toISOString() };
}
