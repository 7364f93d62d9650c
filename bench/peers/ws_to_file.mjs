// What people would write instead: Node's ws, every binary message written to a file.
// The first message says how many bytes will come, {"length": N}; "done" when they are written.
// node ws_to_file.mjs FOLDER PEERS; prints its port.
import { createRequire } from "node:module";
import fs from "node:fs";
const [folder, peers] = process.argv.slice(2);
const require = createRequire(`${peers}/`);
require("bufferutil"); // ws takes it by itself when it is there; without it this is not the peer
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({
  host: "127.0.0.1", port: 0, perMessageDeflate: false, maxPayload: 64 << 20, backlog: 4096,
});
let number = 0;
server.on("listening", () => console.log(`port ${server.address().port}`));
server.on("connection", (socket) => {
  let fd = -1, length = 0, written = 0;
  socket.on("message", (data, binary) => {
    if (!binary) {
      length = JSON.parse(data).length;
      fd = fs.openSync(`${folder}/${number++}`, "w");
      written = 0;
      return;
    }
    written += fs.writeSync(fd, data, 16); // a header that nobody reads, as ours has
    if (written >= length) { fs.closeSync(fd); fd = -1; socket.send("done"); }
  });
  socket.on("close", () => { if (fd >= 0) fs.closeSync(fd); });
});
