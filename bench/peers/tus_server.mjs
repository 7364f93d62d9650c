// @tus/server with its file store on the folder given, on a free port, which it prints.
import { createRequire } from "node:module";
const [folder, peers] = process.argv.slice(2);
const require = createRequire(`${peers}/`);
const { Server } = require("@tus/server");
const { FileStore } = require("@tus/file-store");
const server = new Server({ path: "/files", datastore: new FileStore({ directory: folder }) });
const listener = server.listen(0, "127.0.0.1", () => console.log(listener.address().port));
