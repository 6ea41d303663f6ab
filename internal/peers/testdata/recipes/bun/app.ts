// SPDX-License-Identifier: Apache-2.0

// Asks itself over HTTP, and says what it is made for.
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (r) => new Response("pong " + new URL(r.url).pathname) });
const answer = await fetch(`http://127.0.0.1:${server.port}/ping`);
console.log(await answer.text(), "from", process.arch);
server.stop();
