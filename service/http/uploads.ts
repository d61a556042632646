import type { FastifyInstance } from "fastify";

import { defaultSourceLimits } from "../sources/policy";
import { uploadsDirectory } from "../sources/provider";
import { Uploads } from "../sources/uploads";
import type { ServiceContext } from "./context";
import { refusals } from "./schemas";

/** An archive that no build was asked for with goes after a day, in milliseconds. */
const lifetime = 24 * 3600 * 1000;
const sweepInterval = 3600 * 1000;

/** `POST /v1/uploads`: takes an archive in, as it comes, for a build whose source it is. */
export async function registerUploads(app: FastifyInstance, context: ServiceContext): Promise<void> {
    const uploads = new Uploads(uploadsDirectory(context.settings));
    const sweep = () => {
        const used = new Set(
            (["queued", "running"] as const).flatMap((state) =>
                context.queue.list({ state }).map(({ request }) => request.source),
            ),
        );
        uploads.removeOlder(lifetime, (id) => used.has(`upload:${id}`));
    };
    sweep();
    const timer = setInterval(sweep, sweepInterval).unref();
    app.addHook("onClose", (_, done) => {
        clearInterval(timer);
        done();
    });
    await app.register((scope, _, registered) => {
        // It goes to the disk as it comes: nothing is to read it first.
        scope.removeAllContentTypeParsers();
        scope.addContentTypeParser("*", (_request, _payload, done) => {
            done(null);
        });
        scope.post(
            "/v1/uploads",
            {
                onRequest: context.require("builds:write"),
                schema: {
                    summary:
                        "Hand over an archive (tar, tar.gz, tar.zst, zip), whose `source` a build is then asked for with",
                    consumes: ["application/octet-stream"],
                    response: {
                        201: {
                            type: "object",
                            properties: {
                                source: { type: "string" },
                                bytes: { type: "integer" },
                                sha256: { type: "string" },
                            },
                        },
                        ...refusals,
                    },
                },
            },
            async (request, reply) => {
                const { id, bytes, sha256 } = await uploads.receive(request.raw, defaultSourceLimits.archiveBytes);
                return reply.code(201).send({ source: `upload:${id}`, bytes, sha256 });
            },
        );
        registered();
    });
}
