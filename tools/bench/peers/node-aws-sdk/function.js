// The peer as a Lambda function: its routes behind the runtime API, without a server, as @fastify/aws-lambda has them.

import { app } from "./app.js";

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;

for (;;) {
  const invocation = await fetch(`${api}/next`);
  const { requestContext, rawPath, rawQueryString, headers, body } = await invocation.json();
  const response = await app.inject({
    method: requestContext.http.method,
    url: rawQueryString ? `${rawPath}?${rawQueryString}` : rawPath,
    headers,
    payload: body,
  });
  await fetch(`${api}/${invocation.headers.get("lambda-runtime-aws-request-id")}/response`, {
    method: "POST",
    body: JSON.stringify({ statusCode: response.statusCode, headers: response.headers, body: response.payload }),
  });
}
