// What Python's clients would not do: bytes on a TLS connection as they are, and the URL standard's own parser.
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';

// Writes each piece after its pause in milliseconds; what came until the end, or until it was silent for a while.
const send = (port, ca, pieces, silence) =>
  new Promise((resolve) => {
    const came = [];
    const socket = connect({ host: '127.0.0.1', port, servername: 'shop.example', ca: readFileSync(ca) });
    const end = () => {
      socket.destroy();
      resolve(Buffer.concat(came).toString('base64'));
    };
    socket.on('data', (data) => came.push(data));
    socket.on('error', end);
    socket.on('close', end);
    socket.setTimeout(silence, end);
    socket.on('secureConnect', async () => {
      for (const [text, pause] of pieces) {
        await new Promise((go) => setTimeout(go, pause));
        if (!socket.writable) return;
        socket.write(Buffer.from(text, 'latin1'));
      }
    });
  });

const scripts = {
  // The origin of each Location header, as a browser resolves it.
  lands: (locations, base) => locations.map((location) => new URL(location, base).origin),
  // Several connections at once.
  send: (port, ca, connections, silence) =>
    Promise.all(connections.map((pieces) => send(port, ca, pieces, silence))),
};

const { script, given } = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(await scripts[script](...given)));
