// The typings of the packages, by the TypeScript compiler: what a method's request, answer and errors are.
import ts from 'typescript';
import { inPackage, sdkName } from './list.mjs';

const OPTIONS = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, strict: true, skipLibCheck: true };
const file = (packageName, name) => inPackage(packageName, `build/${name}.d.mts`);
const META = 'es/meta';
const SDK = ['es/index.typings', 'internal/es/index.typings']; // the second also has what Wix marks as internal

/** Reads the typings of these packages at once. */
export function readTypings(packageNames) {
  const files = packageNames.flatMap((name) => [META, ...SDK].map((one) => file(name, one)));
  const program = ts.createProgram(files, { ...OPTIONS, target: ts.ScriptTarget.ES2022 });
  return new Typings(program, program.getTypeChecker());
}

export class Typings {
  constructor(program, checker) {
    Object.assign(this, { program, checker });
  }

  exported(packageName, name) {
    const module = this.checker.getSymbolAtLocation(this.program.getSourceFile(file(packageName, name)));
    return new Map(this.checker.getExportsOfModule(module).map((symbol) => [symbol.name, this.resolved(symbol)]));
  }

  resolved(symbol) {
    return symbol.flags & ts.SymbolFlags.Alias ? this.checker.getAliasedSymbol(symbol) : symbol;
  }

  /** The request and the answer of a method, as REST has them. */
  metaOf(packageName, method) {
    const symbol = this.exported(packageName, META).get(method);
    const info = this.signature(symbol).getReturnType();
    return { request: info.aliasTypeArguments[3], answer: info.aliasTypeArguments[5] };
  }

  /** A method of the SDK: its parameters with their types and required paths, its errors' codes and its tags. */
  sdkOf(packageName, sdk, method) {
    const symbols = SDK.map((name) => this.exported(packageName, name)).find((found) => found.has(method));
    const symbol = symbols.get(sdkName(sdk, method)) ?? symbols.get(method);
    const parameters = this.signature(symbol).parameters.map((parameter) => this.parameter(parameter));
    return { parameters, codes: this.codes(symbol), tags: tagsOf(symbols.get(method)) };
  }

  signature(symbol) {
    return this.typeOf(symbol).getCallSignatures().at(-1);
  }

  parameter(symbol) {
    const { type: node, questionToken } = symbol.valueDeclaration;
    const isNarrowed = ts.isTypeReferenceNode(node) && node.typeName.text === 'NonNullablePaths';
    const [shape, paths] = isNarrowed ? node.typeArguments : [node, undefined];
    return {
      name: symbol.name,
      type: this.withoutNull(this.checker.getTypeFromTypeNode(shape)),
      required: questionToken ? [] : [''],
      paths: paths ? this.paths(this.checker.getTypeFromTypeNode(paths)) : [],
    };
  }

  /** `lineItems.${number}._id` is ["lineItems", "id"]. */
  paths(type) {
    const texts = (type.isUnion() ? type.types : [type]).map((one) => one.value ?? one.texts.join(''));
    return texts.map((text) => text.split('.').filter(Boolean).map((part) => REST_NAMES[part] ?? part));
  }

  codes(symbol) {
    const found = new Set();
    const answer = this.checker.getAwaitedType(this.signature(symbol).getReturnType());
    const errors = answer?.getProperty('__applicationErrorsType');
    const kinds = errors ? this.withoutNull(this.typeOf(errors)) : undefined;
    for (const kind of kinds ? partsOf(kinds) : []) {
      const code = kind.getProperty('code');
      for (const one of code ? partsOf(this.typeOf(code)) : []) if (one.isStringLiteral()) found.add(one.value);
    }
    return [...found].sort();
  }

  typeOf(symbol) {
    return this.checker.getTypeOfSymbol(symbol);
  }

  withoutNull(type) {
    return this.checker.getNonNullableType(type);
  }

  properties(type) {
    return this.checker.getPropertiesOfType(type).filter(({ name }) => !name.startsWith('__'));
  }

  /** What a type is: { kind, ... } with kind one of the words below. */
  shape(type) {
    const isNullable = partsOf(type).some((part) => part.flags & ts.TypeFlags.Null);
    return { ...this.plainShape(this.withoutNull(type)), ...(isNullable && { isNullable }) };
  }

  plainShape(type) {
    const { flags } = type;
    if (flags & ts.TypeFlags.StringLike && !type.isLiteral()) return { kind: 'string' };
    if (flags & ts.TypeFlags.NumberLike && !type.isLiteral()) return { kind: 'number' };
    if (flags & ts.TypeFlags.BooleanLike) return { kind: 'boolean' };
    if (flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown)) return { kind: 'any' };
    if (flags & ts.TypeFlags.Void || flags & ts.TypeFlags.Undefined) return { kind: 'nothing' };
    if (type.isUnion() || type.isLiteral()) return this.unionShape(type);
    if (this.checker.isArrayType(type)) return { kind: 'array', of: this.checker.getTypeArguments(type)[0] };
    const name = type.symbol?.name;
    if (name === 'Date') return { kind: 'date' };
    if (name === 'Uint8Array') return { kind: 'bytes' };
    const values = this.checker.getIndexTypeOfType(type, ts.IndexKind.String);
    const properties = this.properties(type);
    if (values && !properties.length) return { kind: 'map', of: values };
    return { kind: 'object', name: properties.length ? name : undefined, properties };
  }

  unionShape(type) {
    const parts = partsOf(type);
    if (parts.every((part) => part.flags & ts.TypeFlags.BooleanLike)) return { kind: 'boolean' };
    const values = [...new Set(parts.map((part) => part.value))];
    if (values.some((value) => typeof value !== 'string')) return { kind: 'any' };
    const member = parts.find((part) => part.flags & ts.TypeFlags.EnumLiteral)?.symbol;
    const name = member?.parent?.flags & ts.SymbolFlags.Enum ? member.parent.name : member?.name;
    return name ? { kind: 'enum', name, values } : { kind: 'string' };
  }

  isOptional(symbol) {
    return Boolean(symbol.flags & ts.SymbolFlags.Optional);
  }
}

export const REST_NAMES = { _id: 'id', _createdDate: 'createdDate', _updatedDate: 'updatedDate' };

export const partsOf = (type) => (type.isUnion() ? type.types : [type]);

/** A function's tags, without any sentence: permissions, scopes and what is deprecated. */
function tagsOf(symbol) {
  const tags = symbol.getJsDocTags().map((tag) => [tag.name, ts.displayPartsToString(tag.text).trim()]);
  const all = (wanted) => [...new Set(tags.filter(([name]) => name === wanted).map(([, text]) => text))].sort();
  return {
    permissions: all('permissionId'),
    scopes: all('permissionScopeId'),
    isDeprecated: tags.some(([name]) => name === 'deprecated'),
    removal: all('targetRemovalDate').at(0),
    replacedBy: all('replacedBy').at(0),
  };
}
