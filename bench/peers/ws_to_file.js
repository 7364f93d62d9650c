// What people would write instead: Node's ws, every binary message written to a file.
// node ws_to_file.js FILE EXPECTED_BYTES; prints its port, answers "done" when all has come.
const { WebSocketServer } = require("ws");
const fs = require("fs");
const [file, expected] = [process.argv[2], Number(process.argv[3])];
const server = new WebSocketServer({
  host: "127.0.0.1", port: 0, perMessageDeflate: false, maxPayload: 64 << 20,
});
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket) => {
  const fd = fs.openSync(file, "w");
  let written = 0;
  socket.on("message", (data, binary) => {
    if (!binary) return;
    written += fs.writeSync(fd, data, 16); // a header that nobody reads, as ours has
    if (written >= expected) { fs.closeSync(fd); socket.send("done"); }
  });
});
