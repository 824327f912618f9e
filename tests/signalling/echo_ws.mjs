// Speaks to an echo with the npm package "ws", and with node's own WebSocket where there is one.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import WebSocket from "ws";

const url = process.argv[2];
const result = {};

const open = async (options) => {
  const socket = new WebSocket(url, ["other", "echo"], options);
  await once(socket, "open");
  return socket;
};
const said = async (socket) => {
  const [data] = await once(socket, "message");
  return data.toString();
};

{
  const socket = await open({});
  result.protocol = socket.protocol;
  result.extensions = socket.extensions; // permessage-deflate is offered by default
  socket.send("one ", { fin: false });
  socket.ping("between");
  socket.send("two ", { fin: false });
  socket.send("three", { fin: true });
  const both = await Promise.all([once(socket, "pong"), said(socket)]);
  result.pong = both[0].toString();
  result.fragments = both[1];
  const long = "ö".repeat(60_000);
  socket.send(long);
  result.long = (await said(socket)) === long;
  const bytes = randomBytes(1000);
  socket.send(bytes);
  result.binary = (await said(socket)) === bytes.toString("hex");
  socket.close(4001, "enough");
  const [code] = await once(socket, "close");
  result.close = code;
}
{
  const socket = await open({ perMessageDeflate: false });
  socket.send("x".repeat(200_000));
  const [code] = await once(socket, "close");
  result.tooLong = code;
}
if (globalThis.WebSocket) {
  const socket = new globalThis.WebSocket(url, "echo");
  await new Promise((done) => (socket.onopen = done));
  socket.send("from node itself");
  result.own = await new Promise((done) => (socket.onmessage = (event) => done(event.data)));
  const closed = new Promise((done) => (socket.onclose = (event) => done(event)));
  socket.close(3001, "done");
  const event = await closed;
  result.ownClose = [event.code, event.wasClean];
}
console.log(JSON.stringify(result));
