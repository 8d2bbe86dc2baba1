// The usual peer of `intake`: POST /appointments with Node.js, Fastify and AWS SDK v3, connections kept alive, one JSON log
// line a request. It validates as the component does, but for repeated member names, which JSON.parse does not show.
//
// `server.js` serves it, `function.js` runs it on Lambda.

import { parseArgs } from "node:util";
import { randomBytes } from "node:crypto";
import Fastify from "fastify";
import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { PublishCommand, SNSClient } from "@aws-sdk/client-sns";
import { v5 as uuidv5, v7 as uuidv7 } from "uuid";

export const { values: options } = parseArgs({
  options: {
    listen: { type: "string" },
    dynamodb: { type: "string" },
    sns: { type: "string" },
    table: { type: "string" },
    "topic-arn": { type: "string" },
    "republish-delays-seconds": { type: "string" },
  },
});
const firstDelayMs = Number(options["republish-delays-seconds"].split(",")[0]) * 1000;

// Keep-alive is the default of SDK v3; its default of 50 sockets is raised so that no booking waits for one.
const requestHandler = { httpAgent: { keepAlive: true, maxSockets: 256 } };
const dynamodb = new DynamoDBClient({ endpoint: options.dynamodb, requestHandler });
const sns = new SNSClient({ endpoint: options.sns, requestHandler });

export const app = Fastify({ logger: true, disableRequestLogging: true, bodyLimit: 4096 });
app.removeAllContentTypeParsers();
app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => done(null, body));

class Problem extends Error {
  constructor(status, code, title, detail, errors) {
    super(detail);
    Object.assign(this, { statusCode: status, code, title, detail, errors });
  }
}

const FRAMEWORK_PROBLEMS = {
  FST_ERR_CTP_BODY_TOO_LARGE: () =>
    new Problem(413, "body_too_large", "La solicitud es demasiado larga", "La solicitud puede tener hasta 4096 bytes."),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () =>
    new Problem(
      415,
      "unsupported_media_type",
      "Formato no admitido",
      "Envíe la solicitud con el encabezado «Content-Type: application/json».",
    ),
};

app.setErrorHandler((error, request, reply) => {
  const problem =
    error instanceof Problem
      ? error
      : (FRAMEWORK_PROBLEMS[error.code]?.() ??
        new Problem(500, "internal", "Error interno", "El sistema no pudo procesar la solicitud."));
  request.log.warn({ code: problem.code, error: problem === error ? undefined : error.message }, "request refused");
  reply
    .code(problem.statusCode)
    .headers({
      "content-type": "application/problem+json",
      "content-language": "es",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    })
    .send(
      JSON.stringify({
        type: `urn:medical-appointments:problem:${problem.code}`,
        title: problem.title,
        status: problem.statusCode,
        detail: problem.detail,
        code: problem.code,
        errors: problem.errors,
      }),
    );
});

const checks = {
  insuredId: (value) => {
    if (typeof value !== "string") return "invalid_type";
    return /^[0-9]{5}$/.test(value) ? null : "invalid_format";
  },
  scheduleId: (value) => {
    if (typeof value !== "number" || (Number.isFinite(value) && value % 1 !== 0)) return "invalid_type";
    return Number.isSafeInteger(value) && value >= 1 ? null : "out_of_range";
  },
  countryISO: (value) => {
    if (typeof value !== "string") return "invalid_type";
    return value === "PE" || value === "CL" ? null : "unsupported_value";
  },
};

function validated(body) {
  if (!body || body.trim() === "") {
    throw new Problem(400, "empty_body", "La solicitud está vacía", "Envíe los datos de la cita en formato JSON.");
  }
  let wanted;
  try {
    wanted = JSON.parse(body);
  } catch {
    throw new Problem(400, "invalid_json", "La solicitud no es JSON", "No pudimos leer la solicitud como JSON.");
  }
  if (wanted === null || typeof wanted !== "object" || Array.isArray(wanted)) {
    throw new Problem(400, "not_an_object", "La solicitud no es un objeto", "Envíe los datos de la cita como un objeto JSON.");
  }
  const errors = [];
  for (const [field, value] of Object.entries(wanted)) {
    const code = Object.hasOwn(checks, field) ? checks[field](value) : "unknown_field";
    if (code) errors.push({ field, code, message: "El valor no es válido." });
  }
  for (const field of Object.keys(checks)) {
    if (!Object.hasOwn(wanted, field)) errors.push({ field, code: "required", message: "El campo es obligatorio." });
  }
  if (errors.length > 0) {
    throw new Problem(400, "invalid_body", "La solicitud no es válida", "Corrija los campos indicados en «errors».", errors);
  }
  return wanted;
}

const TRACEPARENT = /^00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})$/;

app.post("/appointments", async (request, reply) => {
  const arrived = performance.now();
  const { insuredId, scheduleId, countryISO } = validated(request.body);
  const caller = TRACEPARENT.exec(request.headers.traceparent ?? "");
  const traceId = caller ? caller[1] : randomBytes(16).toString("hex");
  const traceparent = `00-${traceId}-${randomBytes(8).toString("hex")}-${caller ? caller[2] : "01"}`;

  const now = new Date();
  const createdAt = now.toISOString();
  const appointmentId = uuidv7({ msecs: now.getTime() });
  const shard = `${countryISO}#${parseInt(appointmentId.slice(-2), 16) % 4}`;
  try {
    await dynamodb.send(
      new PutItemCommand({
        TableName: options.table,
        ConditionExpression: "attribute_not_exists(sk)",
        Item: {
          insuredId: { S: insuredId },
          sk: { S: `appointment#${appointmentId}` },
          scheduleId: { N: String(scheduleId) },
          countryISO: { S: countryISO },
          status: { S: "pending" },
          createdAt: { S: createdAt },
          updatedAt: { S: createdAt },
          history: { L: [{ M: { status: { S: "pending" }, at: { S: createdAt } } }] },
          traceparent: { S: traceparent },
          shard: { S: shard },
          pendingShard: { S: shard },
          pendingSince: { S: new Date(now.getTime() + firstDelayMs).toISOString() },
          pendingAttempt: { N: "0" },
        },
      }),
    );
  } catch (error) {
    request.log.warn({ error: error.message }, "PutItem failed");
    throw new Problem(
      503,
      "temporarily_unavailable",
      "No disponible por el momento",
      "Intente de nuevo en unos segundos. Su solicitud pudo haberse registrado: repítala con la misma clave de idempotencia.",
    );
  }
  try {
    const type = "appointment.requested";
    await sns.send(
      new PublishCommand({
        TopicArn: options["topic-arn"],
        Message: JSON.stringify({
          version: 1,
          type,
          eventId: uuidv5(type, appointmentId),
          appointmentId,
          insuredId,
          scheduleId,
          countryISO,
          occurredAt: createdAt,
          traceparent,
        }),
        MessageAttributes: {
          countryISO: { DataType: "String", StringValue: countryISO },
          type: { DataType: "String", StringValue: type },
        },
      }),
    );
  } catch (error) {
    // Left to the republisher: the row is in the index `pending`.
    request.log.warn({ error: error.message }, "Publish failed");
  }

  request.log.info(
    {
      trace_id: traceId,
      method: "POST",
      route: "/appointments",
      status: 202,
      appointment_id: appointmentId,
      country: countryISO,
      duration_ms: performance.now() - arrived,
    },
    "appointment accepted",
  );
  reply
    .code(202)
    .headers({
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "content-language": "es",
      location: `/appointments/${insuredId}/${appointmentId}`,
    })
    .send(
      JSON.stringify({
        appointmentId,
        insuredId,
        scheduleId,
        countryISO,
        status: "pending",
        createdAt,
        updatedAt: createdAt,
        message: "Estamos procesando su cita.",
      }),
    );
});
