import { Readable } from "node:stream";

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { buildKey, layout } from "../../contract/layout";
import { svgOf } from "../../pipeline/svg";
import type { BuildRecord } from "../build";
import { isFinal } from "../build";
import { alike, bytesOf, pipelineOf, storedOf, tailOf, wholeLogOf } from "../page/buildData";
import { buildPage } from "../page/buildPage";
import { listPage } from "../page/listPage";
import { labelsOf, readListQuery } from "../page/listQuery";
import { problemPage } from "../page/plainPages";
import { artifactPolicy, drawingPolicy } from "../page/policy";
import type { PageContext } from "./page";
import { mayAct } from "./page";

interface Id {
    readonly id: string;
}

const pageLength = 50;
const hidden = { schema: { hide: true } } as const;

/** The list, a build's page, its drawing and artifacts, and what its buttons do. Who asks is known here. */
export function registerBuildPages(pages: FastifyInstance, context: PageContext): void {
    const { queue, assets, sendPage, visitOf } = context;
    const missing = (request: FastifyRequest, reply: FastifyReply, what: string) =>
        sendPage(reply, problemPage(assets.addresses, "Not found", what, visitOf(request).viewer), 404);
    const noBuild = (request: FastifyRequest, reply: FastifyReply) =>
        missing(request, reply, "There is no such build. It may have been removed.");

    pages.get("/builds", hidden, (request, reply) => {
        const { query, problem } = readListQuery(queryOf(request));
        const { text, state, before } = query;
        const found = queue.list({ text, state, before, labels: labelsOf(query), limit: pageLength + 1 });
        const builds = found.slice(0, pageLength);
        const next = found.length > pageLength ? builds.at(-1)?.id : undefined;
        const { viewer } = visitOf(request);
        return sendPage(
            reply,
            listPage({ query, builds, next, problem, viewer, assets: assets.addresses, now: new Date() }),
        );
    });

    pages.get<{ Params: Id }>("/builds/:id", hidden, async (request, reply) => {
        const build = queue.get(request.params.id);
        if (!build) {
            return noBuild(request, reply);
        }
        const visit = visitOf(request);
        const definition = pipelineOf(context, build);
        const asked = queryOf(request).get("log");
        // A pipeline's steps have logs of their own; its launcher tells of all of them. So it does where no build began.
        const usual = definition || (isFinal(build.state) && build.buildTag === undefined) ? "launcher" : "build";
        const of = asked === "build" || asked === "launcher" ? asked : usual;
        const [stored, tail] = await Promise.all([storedOf(context, build), tailOf(context, build, of)]);
        const drawing = definition?.stages
            .map(({ name, steps }) => `${name}: ${steps.map((step) => step.name).join(", ")}`)
            .join("; ");
        return sendPage(
            reply,
            buildPage({
                ...{ build, of, tail, drawing, ...stored, viewer: visit.viewer, assets: assets.addresses },
                ...{ events: queue.events(0, build.id), alike: alike(context, build), mayAct: mayAct(visit, build) },
                now: new Date(),
            }),
        );
    });

    pages.get<{ Params: Id }>("/builds/:id/log", hidden, async (request, reply) => {
        const build = queue.get(request.params.id);
        return build
            ? reply
                  .type("text/plain; charset=utf-8")
                  .header("content-security-policy", artifactPolicy)
                  .send(await wholeLogOf(context, build, queryOf(request).get("of") === "launcher"))
            : noBuild(request, reply);
    });

    pages.get<{ Params: Id }>("/builds/:id/pipeline.svg", hidden, async (request, reply) => {
        const build = queue.get(request.params.id);
        const definition = build && pipelineOf(context, build);
        if (!build || !definition) {
            return noBuild(request, reply);
        }
        const { pipeline } = await storedOf(context, build);
        const steps = pipeline?.stages.flatMap((stage) => stage.steps) ?? [];
        return reply
            .type("image/svg+xml")
            .header("content-security-policy", drawingPolicy)
            .send(svgOf(definition, new Map(steps.map(({ name, outcome }) => [name, outcome]))));
    });

    pages.get<{ Params: Id & { readonly "*": string } }>("/builds/:id/artifacts/*", hidden, async (request, reply) => {
        const build = queue.get(request.params.id);
        const { artifacts = [] } = build ? await storedOf(context, build) : {};
        const artifact = artifacts.find(({ name }) => name === request.params["*"]);
        if (build?.buildTag === undefined || build.containerUrl === undefined || !artifact) {
            return missing(request, reply, "There is no such artifact.");
        }
        const blob = layout.artifact(buildKey(build.buildTag), artifact.name);
        const file = artifact.name.slice(artifact.name.lastIndexOf("/") + 1);
        return reply
            .type("application/octet-stream")
            .header("content-length", String(artifact.size))
            .header("content-disposition", `attachment; filename*=UTF-8''${rfc5987(file)}`)
            .header("content-security-policy", artifactPolicy)
            .send(Readable.from(bytesOf(context.openStore(build.containerUrl), blob)));
    });

    pages.post<{ Params: Id }>("/builds/:id/cancel", hidden, (request, reply) =>
        act(request, reply, (build, caller) => queue.cancel(build.id, caller)),
    );
    pages.post<{ Params: Id }>("/builds/:id/again", hidden, (request, reply) =>
        act(request, reply, (build, caller) => queue.submit(build.request, caller, queue.secrets(build.id)), releases),
    );

    const act = (
        request: FastifyRequest<{ Params: Id }>,
        reply: FastifyReply,
        does: (build: BuildRecord, caller: string) => BuildRecord,
        takesAdmin: (build: BuildRecord) => boolean = () => false,
    ): FastifyReply => {
        const build = queue.get(request.params.id);
        if (!build) {
            return noBuild(request, reply);
        }
        const visit = visitOf(request);
        if (takesAdmin(build) && !visit.caller.scopes.has("admin")) {
            const text = "The build makes a release, with the service's token: that takes the scope admin.";
            return sendPage(reply, problemPage(assets.addresses, "Not allowed", text, visit.viewer), 403);
        }
        if (!mayAct(visit, build)) {
            const text = visit.viewer.mayWrite
                ? `The build is ${build.caller}'s.`
                : "Your token may look at builds, and nothing else.";
            return sendPage(reply, problemPage(assets.addresses, "Not allowed", text, visit.viewer), 403);
        }
        return reply.redirect(`/builds/${does(build, visit.caller.name).id}`, 303);
    };
}

/** As at `/v1`. */
function releases({ request }: BuildRecord): boolean {
    return request.release !== undefined;
}

function queryOf(request: FastifyRequest): URLSearchParams {
    return new URL(request.url, "http://localhost").searchParams;
}

/** https://www.rfc-editor.org/rfc/rfc8187#section-3.2 */
function rfc5987(text: string): string {
    return encodeURIComponent(text.replace(/\p{Surrogate}/gu, "_")).replace(
        /['()*]/g,
        (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    );
}
