// The real @wix/sdk, led by Python: one JSON request a line on stdin, one JSON answer a line on stdout.
// The SDK is untouched. What the tests rule is here: where `fetch` leads to, and what time it is.
import { createInterface } from 'node:readline';
import { createClient, OAuthStrategy } from '@wix/sdk';
import { currentCart } from '@wix/ecom';
import { redirects } from '@wix/redirects';

const baseUrl = process.argv[2];
const realFetch = globalThis.fetch;
let client;
const begun = [];

globalThis.fetch = async (input, init = {}) => {
  const url = new URL(input);
  if (url.protocol !== 'https:' || !url.hostname.endsWith('.wixapis.com')) {
    throw new Error(`unexpected host in a test: ${url.host}`);
  }
  const headers = new Headers(init.headers);
  headers.set('x-original-host', url.host);
  return realFetch(new URL(url.pathname + url.search, baseUrl), { ...init, headers });
};
console.log = console.error; // stdout is the answers'

const commands = {
  create: ({ clientId, tokens }) => {
    const auth = OAuthStrategy({ clientId, ...(tokens && { tokens: JSON.parse(tokens) }) });
    client = createClient({ modules: { currentCart, redirects }, auth });
  },
  call: ({ method, args, times }) => Promise.all(Array.from({ length: times }, () => outcome(method, args))),
  begin: ({ method, args, times }) => begun.push(Array.from({ length: times }, () => outcome(method, args))) - 1,
  end: ({ number }) => Promise.all(begun[number]),
  property: ({ name }) => name.split('.').reduce((object, part) => object[part], client),
  savedTokens: () => JSON.stringify(client.auth.getTokens()),
  stringified: ({ text }) => JSON.stringify(JSON.parse(text)),
  frames,
  setTime: ({ seconds }) => {
    Date.now = () => seconds * 1000;
  },
};

// As much of a browser as the SDK's hidden frame needs: a frame's page is fetched, and its script runs.
function frames() {
  const listeners = new Set();
  const parent = { postMessage: (data) => listeners.forEach((listener) => listener({ data })) };
  globalThis.window = {
    addEventListener: (_, listener) => listeners.add(listener),
    removeEventListener: (_, listener) => listeners.delete(listener),
  };
  const body = {
    contains: () => false,
    appendChild: (frame) => {
      realFetch(frame.src)
        .then((response) => response.text())
        .then((page) => new Function('window', /<script>(.*)<\/script>/s.exec(page)[1])({ opener: null, parent }));
      return frame;
    },
  };
  globalThis.document = { createElement: () => ({ style: {} }), body };
}

async function outcome(method, args) {
  const names = method.split('.');
  const owner = names.slice(0, -1).reduce((object, name) => object[name], client);
  try {
    const value = await owner[names.at(-1)](...args);
    return { value: value instanceof Response ? { status: value.status, text: await value.text() } : value };
  } catch (error) {
    const code = error.details?.applicationError?.code ?? null;
    return { error: { name: error.name, message: error.message, code } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  const answer = (await commands[command](given)) ?? null;
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
