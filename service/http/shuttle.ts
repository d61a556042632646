import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { isIP } from "node:net";
import * as path from "node:path";

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { UserError } from "../../contract/errors";
import { isFinal } from "../build";
import type { Scope } from "../scopes";
import { isNamed, type ShuttlePayload, shuttleRequest, uuid } from "../shuttle";
import type { Caller } from "./auth";
import { isTheirs } from "./auth";
import { buildLog } from "./builds";
import type { ServiceContext } from "./context";

/** As the shuttle's clients write it: the name of the app and its uuid. */
const applicationName = /^(.+)-([a-f\d]{8}(?:-[a-f\d]{4}){3}-[a-f\d]{12})$/i;
const ok = { status: "ok" } as const;
const notFound = { status: "Not Found" } as const;
const status = { type: "object", properties: { status: { type: "string" } } } as const;
const answers = { 200: status, "4xx": { ...status, additionalProperties: true } } as const;

/** Who asks where no token is wanted. */
const anybody: Caller = { name: "shuttle", scopes: new Set(["builds:write"]) };

/**
 * The paths and payloads of the build shuttle, as they are (docs/shuttle.md): its builds are those of `/v1/builds` with
 * `kind: image`.
 *
 * @param isOpen lets in whoever is on this machine without a token, as the clients of the original have none
 */
export function registerShuttle(app: FastifyInstance, context: ServiceContext, isOpen: boolean): void {
    const { queue } = context;
    const access = (scope: Scope) => ({
        onRequest: async (request: FastifyRequest, reply: FastifyReply) => {
            if (!(isOpen && isLocalWithoutToken(request))) {
                await context.require(scope)(request, reply);
            }
        },
    });
    const callerOf = (request: FastifyRequest) =>
        isOpen && isLocalWithoutToken(request) ? anybody : context.callerOf(request);
    const builds = (application: string, key?: string) => {
        const [, app = "", app_uuid = ""] = applicationName.exec(application) ?? [];
        const labels: Readonly<Record<string, string>> = app === "" ? {} : { app, app_uuid };
        return queue.list({ labels }).filter((record) => isNamed(record, application, key));
    };

    app.get("/octhc", { schema: { summary: "The shuttle's health check", security: [] } }, (_, reply) =>
        reply.type("text/plain").send("overall_status=good"),
    );

    app.post<{ Body: ShuttlePayload }>(
        "/",
        {
            ...access("builds:write"),
            schema: {
                summary: "Build an image and push it (build shuttle)",
                body: { type: "object", additionalProperties: true },
                response: answers,
            },
            attachValidation: true,
        },
        async (request, reply) => {
            try {
                const caller = callerOf(request);
                const asked = shuttleRequest(request.body);
                // A number is one build: who asks for it again does not want the one before.
                const { app: name = "", app_uuid = "", build_number } = asked.request.labels;
                builds(`${name}-${app_uuid}`, build_number)
                    .filter((record) => !isFinal(record.state) && isTheirs(caller, record))
                    .forEach(({ id }) => queue.cancel(id, caller.name));
                queue.submit(asked.request, caller.name, asked.secrets);
                return ok;
            } catch (error) {
                if (error instanceof UserError) {
                    return reply
                        .code(400)
                        .send({ status: error.message.replace(/^(?!Bad Request)/, "Bad Request - ") });
                }
                throw error;
            }
        },
    );

    const sources = async (request: FastifyRequest<{ Params: { readonly build: string } }>, reply: FastifyReply) => {
        const { build } = request.params;
        if (!uuid.test(build)) {
            return reply.code(400).send({ status: "Bad Request - build uuid is invalid." });
        }
        const [record] = queue.list({ labels: { build_uuid: build }, limit: 1 });
        const directory = record && path.join(path.dirname(queue.launchLog(record.id)), "source");
        if (directory === undefined || record?.request.source.startsWith("docker:")) {
            return reply.code(404).send(notFound);
        }
        const archive = `${directory}.archive`;
        if (fs.existsSync(archive)) {
            const { size } = fs.statSync(archive);
            void reply.type("application/octet-stream").header("content-length", size);
            return reply.send(fs.createReadStream(archive));
        }
        if (!fs.existsSync(`${path.dirname(directory)}/source.json`) || !fs.existsSync(directory)) {
            return reply.code(404).send(notFound);
        }
        return reply.type("application/octet-stream").send(packed(directory));
    };
    const buildParameter = { type: "object", properties: { build: { type: "string" } } } as const;
    app.get<{ Params: { readonly build: string } }>(
        "/:build",
        {
            ...access("builds:read"),
            exposeHeadRoute: true,
            schema: { summary: "The sources of a build, as an archive (build shuttle)", params: buildParameter },
        },
        sources,
    );

    app.delete<{ Params: { readonly app: string } }>(
        "/:app",
        { ...access("builds:write"), schema: { summary: "End an app's builds (build shuttle)", response: answers } },
        async (request) => {
            const caller = callerOf(request);
            builds(request.params.app)
                .filter((record) => !isFinal(record.state) && isTheirs(caller, record))
                .forEach(({ id }) => queue.cancel(id, caller.name));
            return Promise.resolve(ok);
        },
    );

    app.delete<{ Params: { readonly app: string; readonly number: string } }>(
        "/:app/:number",
        {
            ...access("builds:write"),
            schema: { summary: "End a build, or forget it when it has ended (build shuttle)", response: answers },
        },
        async (request) => {
            const caller = callerOf(request);
            for (const record of builds(request.params.app, request.params.number)) {
                if (!isTheirs(caller, record)) {
                    continue;
                }
                if (isFinal(record.state)) {
                    await queue.remove(record.id);
                } else {
                    queue.cancel(record.id, caller.name);
                }
            }
            return ok;
        },
    );

    app.get<{ Params: { readonly app: string; readonly number: string } }>(
        "/:app/:number/logs",
        { ...access("builds:read"), schema: { summary: "The log of a build (build shuttle)" } },
        async (request, reply) => {
            const [record] = builds(request.params.app, request.params.number);
            const log = record && (await buildLog(context, record, 0)).bytes;
            return log === undefined || log.length === 0
                ? reply.code(404).send(notFound)
                : reply.type("text/plain; charset=utf-8").send(log.toString("utf8").replaceAll("\r\n", "\n"));
        },
    );
}

/**
 * Of this machine, to this machine by its own name: no web page that a browser here shows can ask under another. What a proxy
 * here has passed on comes from this machine too, whoever sent it: those that say so are not believed.
 */
function isLocalWithoutToken(request: FastifyRequest): boolean {
    const host = request.hostname.replace(/^\[|\]$|:\d+$/g, "");
    const isLoopback = (address: string) => address === "::1" || /^(::ffff:)?127\./.test(address);
    return (
        request.headers.authorization === undefined &&
        !Object.keys(request.headers).some((name) => /^(forwarded|via|x-forwarded-.*)$/.test(name)) &&
        isLoopback(request.ip) &&
        (isIP(host) === 0 ? host === "localhost" : isLoopback(host))
    );
}

/** A working copy or an image's tree as an archive: of a repository without what is git's. */
function packed(directory: string) {
    const tar = spawn("tar", ["-c", "-z", "-f", "-", "-C", directory, "--exclude=./.git", "."], {
        stdio: ["ignore", "pipe", "ignore"],
    });
    return tar.stdout;
}
