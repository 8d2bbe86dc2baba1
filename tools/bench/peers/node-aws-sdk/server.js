// The peer as a server.

import { app, options } from "./app.js";

const [host, port] = options.listen.split(":");
await app.listen({ host, port: Number(port) });
