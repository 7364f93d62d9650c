// What tutorials show: begin_upload, then small chunks, each acknowledged when it was written.
// node socketio_loop.mjs FOLDER PEERS; prints its port.
import { createRequire } from "node:module";
import fs from "node:fs";
import http from "node:http";
import { randomUUID } from "node:crypto";
const [folder, peers] = process.argv.slice(2);
const require = createRequire(`${peers}/`);
const { Server } = require("socket.io");
const listener = http.createServer();
const server = new Server(listener, { maxHttpBufferSize: 64 << 20 });
server.on("connection", (socket) => {
  socket.on("begin_upload", (answer) => {
    const id = randomUUID();
    const stream = fs.createWriteStream(`${folder}/${id}`);
    socket.on(`upload_chunk_${id}`, (chunk, answer) => stream.write(chunk, () => answer()));
    socket.on("disconnect", () => stream.end());
    answer(id);
  });
});
listener.listen(0, "127.0.0.1", () => console.log(`port ${listener.address().port}`));
