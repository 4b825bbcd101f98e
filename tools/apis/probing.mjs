// Finds out what the SDK sends, by calling its functions: where each argument goes, and how.
import { sdkName } from './list.mjs';
import { REST_NAMES } from './typings.mjs';

const HOST = 'www.wixapis.com';

/** What the SDK would send for these arguments: { method, url, params, data, fallback, ... }. */
export async function requestOf(sdk, method, values) {
  let options;
  const request = (make) => {
    options = make({ host: HOST });
    throw new Error('enough');
  };
  const call = sdk[sdkName(sdk, method)];
  const context = { httpClient: { request } };
  try {
    await call(...Array.from({ length: call.length }, (_, index) => values[index]), context);
  } catch (error) {
    if (options === undefined) throw error;
  }
  return options;
}

/** What a request carries: its body, or its query parameters as an object. */
export function payloadOf({ params, data }) {
  if (!params) return data === undefined ? undefined : JSON.parse(JSON.stringify(data));
  if (params.has('.r')) return JSON.parse(Buffer.from(params.get('.r'), 'base64url'));
  const payload = {};
  for (const key of new Set(params.keys())) {
    const values = params.getAll(key);
    put(payload, key.split('.'), values.length > 1 ? values : values[0]);
  }
  return payload;
}

function put(object, path, value) {
  const last = path.at(-1);
  path.slice(0, -1).reduce((inner, part) => (inner[part] ??= {}), object)[last] = value;
}

/** Where in a payload a value stands, as a list of keys; undefined if it does not. */
function placeOf(payload, value, path = []) {
  if (payload === value) return path;
  if (payload === null || typeof payload !== 'object') return undefined;
  for (const [key, inner] of Object.entries(payload)) {
    const found = placeOf(inner, value, [...path, key]);
    if (found) return found;
  }
  return undefined;
}

const MARK = 'zzMark';

/**
 * Each argument of a method: { name, at: its path in the payload, isJoined: whether a list travels as one text, type,
 * isRequired, paths: of keys in it that are required, index and property: where the SDK's function takes it }.
 */
export async function argumentsOf(typings, sdk, method, parameters) {
  const probe = new Probe(typings, sdk, method, parameters);
  const found = [];
  for (const [index, parameter] of parameters.entries()) found.push(...(await probe.parameter(index, parameter)));
  return found;
}

class Probe {
  constructor(typings, sdk, method, parameters) {
    Object.assign(this, { typings, sdk, method, parameters });
  }

  async sent(values) {
    return payloadOf(await requestOf(this.sdk, this.method, values)) ?? {};
  }

  /** Values for all parameters, with one of them given. */
  values(index, value) {
    return this.parameters.map((parameter, at) => (at === index ? value : this.mark(parameter.type, `other${at}`)));
  }

  /** A value of this type that can be found again. */
  mark(type, text) {
    const shape = this.typings.shape(type);
    switch (shape.kind) {
      case 'number':
        return 4711;
      case 'boolean':
        return true;
      case 'date':
        return new Date(Date.UTC(2001, 2, 3));
      case 'array':
        return [this.mark(shape.of, text), this.mark(shape.of, `${text}b`)];
      case 'object':
      case 'map':
      case 'any':
        return { [MARK]: text };
      default:
        return text;
    }
  }

  async parameter(index, parameter) {
    const { name, type, required, paths } = parameter;
    const shape = this.typings.shape(type);
    if (shape.kind !== 'object') {
      return this.leaf({ ...parameter, index }, (value) => this.values(index, value), paths);
    }
    const place = placeOf(await this.sent(this.values(index, { [MARK]: 'whole' })), 'whole');
    if (place && place.length > 1) {
      return [{ name, at: place.slice(0, -1), type, isRequired: required.length > 0, paths, index }];
    }
    const inner = shape.properties.map((property) => this.property(index, property, parameter));
    return (await Promise.all(inner)).flat();
  }

  property(index, property, { paths }) {
    const below = paths.filter(([first]) => first === (REST_NAMES[property.name] ?? property.name));
    const isRequired = !this.typings.isOptional(property) || below.some(({ length }) => length === 1);
    const inner = {
      name: property.name,
      type: this.typings.withoutNull(this.typings.typeOf(property)),
      required: isRequired ? [''] : [],
      index,
      property: property.name,
    };
    return this.leaf(
      inner,
      (value) => this.values(index, { [property.name]: value }),
      below.map((path) => path.slice(1)).filter(({ length }) => length),
    );
  }

  async leaf({ name, type, required, index, property }, values, paths) {
    const value = this.mark(type, 'here');
    const payload = await this.sent(values(value));
    const marks = [value, value[0], value[MARK], value[0]?.[MARK], value[0]?.[0]].map(textOf);
    const joined = Array.isArray(value) ? placeOf(payload, value.join(',')) : undefined;
    const whole = marks.map((mark) => mark !== undefined && placeOf(payload, mark)).find(Boolean);
    const place = joined ?? whole ?? placeOf(payload, String(value));
    if (!place) return [];
    const at = place.filter((key) => key !== MARK && !/^\d+$/.test(key));
    return [{ name, at, type, isRequired: required.length > 0, paths, index, property, isJoined: Boolean(joined) }];
  }
}

/** The SDK's parameters for values of its arguments, given as pairs of both. */
export function parametersFor(pairs) {
  const parameters = [];
  for (const [{ index, property }, value] of pairs) {
    if (property === undefined) parameters[index] = value;
    else parameters[index] = { ...parameters[index], [property]: value };
  }
  return parameters;
}

function textOf(value) {
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object' ? undefined : value;
}
