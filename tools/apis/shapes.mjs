// Types as the description writes them: a word or a type's name, then [] for a list, {} for a map, ? for null.
import { parametersFor, payloadOf, requestOf } from './probing.mjs';
import { Samples } from './samples.mjs';

const PLAIN = ['string', 'boolean', 'date', 'bytes', 'any', 'nothing'];

/** Collects the types that a module's methods need. */
export class Shapes {
  constructor(typings) {
    Object.assign(this, { typings, types: {}, enums: {}, fractions: new Set() });
  }

  /** Returns a type's text, and collects it with all that it holds. */
  text(type, owner) {
    const shape = this.typings.shape(type);
    return this.plainText(shape, owner) + (shape.isNullable ? '?' : '');
  }

  plainText(shape, owner) {
    if (PLAIN.includes(shape.kind)) return shape.kind;
    if (shape.kind === 'number') return this.fractions.has(owner) ? 'number' : 'integer';
    if (shape.kind === 'array') return `${this.text(shape.of, owner)}[]`;
    if (shape.kind === 'map') return `${this.text(shape.of, owner)}{}`;
    if (shape.kind === 'enum') this.enums[shape.name] = shape.values;
    else if (!shape.name) return 'any{}'; // an object without a key
    else this.collect(shape);
    return shape.name;
  }

  collect({ name, properties }) {
    if (name in this.types) return;
    const fields = (this.types[name] = {});
    for (const property of properties) {
      const text = this.text(this.typings.typeOf(property), `${name}.${property.name}`);
      fields[property.name] = this.typings.isOptional(property) ? text : `${text}!`;
    }
  }

  /** The type at a path of keys; lists are looked through. */
  at(type, [key, ...rest]) {
    if (key === undefined) return type;
    const shape = this.typings.shape(type);
    if (shape.of) return this.at(shape.of, [key, ...rest]);
    const property = shape.properties?.find(({ name }) => name === key);
    return property && this.at(this.typings.typeOf(property), rest);
  }

  /** Notes which numbers of an answer are no integers: those that the SDK reads "NaN" for. */
  async noteFractionsOfAnswer(options, answer) {
    if (!options.transformResponse) return;
    const sample = new Blank(this.typings).make(answer);
    if (sample) this.note(answer, options.transformResponse(sample), Number.isNaN);
  }

  /** The same of a request: those that the SDK writes "Infinity" for. Returns what it sends with all arguments. */
  async noteFractionsOfRequest(sdk, method, found, request) {
    const number = () => ({ sdk: Infinity, rest: Infinity });
    const samples = new Samples(this.typings, { choose: () => 0, wants: () => true, number });
    const pairs = found.map((one) => [one, samples.make(one.type, this.at(request, one.at))?.sdk]);
    const options = await requestOf(sdk, method, parametersFor(pairs));
    const isText = options.params && !options.params.has('.r'); // where every number is a text
    if (!isText) this.note(request, payloadOf(options) ?? {}, (value) => value === 'Infinity');
    return options;
  }

  note(type, value, isFraction, owner) {
    const shape = this.typings.shape(type);
    if (value === undefined || value === null) return;
    if (shape.kind === 'number' && isFraction(value)) this.fractions.add(owner);
    if (shape.kind === 'array' && Array.isArray(value)) for (const item of value) this.note(shape.of, item, isFraction, owner);
    if (shape.kind === 'map') for (const item of Object.values(value)) this.note(shape.of, item, isFraction, owner);
    if (shape.kind !== 'object') return;
    for (const property of shape.properties) {
      const inner = `${shape.name}.${property.name}`;
      this.note(this.typings.typeOf(property), value[property.name], isFraction, inner);
    }
  }
}

/** An answer with every key once, at its shallowest place, and "NaN" for each number. */
class Blank {
  constructor(typings) {
    Object.assign(this, { typings, seen: new Set(), waiting: [] });
  }

  make(type) {
    const holder = {};
    this.waiting.push([holder, 'answer', type]);
    while (this.waiting.length) this.fill(...this.waiting.shift());
    return holder.answer;
  }

  fill(holder, key, type) {
    const shape = this.typings.shape(type);
    if (shape.kind === 'array') {
      this.fill((holder[key] = []), 0, shape.of);
    } else if (shape.kind === 'map') {
      this.fill((holder[key] = {}), 'key', shape.of);
    } else if (shape.kind === 'object') {
      this.object((holder[key] = {}), shape);
    } else {
      holder[key] = BLANKS[shape.kind] ?? 'x';
    }
  }

  object(made, { name, properties }) {
    if (!name || this.seen.has(name)) return;
    this.seen.add(name);
    for (const property of properties) this.waiting.push([made, property.name, this.typings.typeOf(property)]);
  }
}

const BLANKS = { number: 'NaN', boolean: true, date: '2026-11-01T00:00:00.000Z', bytes: 'AAAA' };
