// Prints the names that the pinned @wix/sdk has: of all its entry points, of its client, and of its login strategy.
import { createRequire } from 'node:module';
import { createClient, media, OAuthStrategy } from '@wix/sdk';

const entries = Object.keys(createRequire(import.meta.url)('@wix/sdk/package.json').exports)
  .filter((entry) => !entry.endsWith('.json'));
const modules = await Promise.all(entries.map((entry) => import(`@wix/sdk${entry.slice(1)}`)));
const client = createClient({ auth: OAuthStrategy({ clientId: '5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e' }) });
const prefixed = (prefix, object) => Object.keys(object).map((name) => `${prefix}.${name}`);
const names = [
  ...modules.flatMap((module) => Object.keys(module)),
  ...prefixed('client', client),
  ...prefixed('auth', client.auth),
  ...prefixed('auth.sessions', client.auth.sessions),
  ...prefixed('media', media),
];
console.log(JSON.stringify([...new Set(names)].filter((name) => name !== 'default').sort()));
