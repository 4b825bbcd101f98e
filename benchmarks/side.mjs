// The real @wix/sdk as a side of a comparison: `node side.mjs URL`. One JSON request a line, one JSON answer a line.
// The SDK is untouched; only its calls to Wix's token endpoint are led to the server of the measurement.
import { createInterface } from 'node:readline';
import { createClient, OAuthStrategy } from '@wix/sdk';

const url = process.argv[2];
const clientId = '5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e';
const cart = `${url}/ecom/v2/carts/current`;
const realFetch = globalThis.fetch;
const visitor = (expiresAt) => ({
  accessToken: { value: `OauthNG.JWS.${'a'.repeat(600)}`, expiresAt },
  refreshToken: { value: `JWS.${'r'.repeat(600)}`, role: 'visitor' },
});
const now = () => Math.floor(Date.now() / 1000);
const clientOf = (tokens) => createClient({ auth: OAuthStrategy({ clientId, ...(tokens && { tokens }) }) });
const get = async (client) => (await client.fetchWithAuth(cart)).text();

async function rate({ seconds, in_flight: inFlight }) {
  const client = clientOf(visitor(now() + 14_400));
  const began = performance.now();
  let done = 0;
  const worker = async () => {
    while (performance.now() - began < seconds * 1000) {
      await get(client);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return done / ((performance.now() - began) / 1000);
}

async function redirected(work) {
  globalThis.fetch = (input, init) => realFetch(String(input).replace('https://www.wixapis.com', url), init);
  try {
    return await work();
  } finally {
    globalThis.fetch = realFetch;
  }
}

const herd = ({ callers, expired }) =>
  redirected(async () => {
    const client = clientOf(expired ? visitor(now() - 10) : undefined);
    await Promise.all(Array.from({ length: callers }, () => client.auth.generateVisitorTokens(client.auth.getTokens())));
    return callers;
  });

const latencies = ({ seconds, in_flight: inFlight, expires_in: expiresIn }) =>
  redirected(async () => {
    const client = clientOf();
    const tokens = await client.auth.generateVisitorTokens();
    tokens.accessToken.expiresAt = now() + expiresIn;
    client.auth.setTokens(tokens);
    const began = performance.now();
    const found = [];
    const worker = async () => {
      while (performance.now() - began < seconds * 1000) {
        const start = performance.now();
        await get(client);
        found.push([(start - began) / 1000, (performance.now() - start) / 1000]);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
    return found;
  });

const commands = { rate, herd, latencies };
for await (const line of createInterface({ input: process.stdin })) {
  const { command = 'rate', ...given } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await commands[command](given))}\n`);
}
