// @tus/server with its file store.  node tus_server.mjs FOLDER PEERS; prints its port.
import { createRequire } from "node:module";
const [folder, peers] = process.argv.slice(2);
const require = createRequire(`${peers}/`);
const { Server } = require("@tus/server");
const { FileStore } = require("@tus/file-store");
const server = new Server({ path: "/files", datastore: new FileStore({ directory: folder }) });
const listener = server.listen(0, "127.0.0.1", () => console.log(`port ${listener.address().port}`));
