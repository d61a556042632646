import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { UserError } from "../../contract/errors";
import type { BuildRecord } from "../build";
import { Assets } from "../page/assets";
import { isFromHere, sessionCookie, sessionOf } from "../page/cookie";
import type { Markup } from "../page/html";
import type { Viewer } from "../page/layout";
import { loginPage, problemPage, returnPage } from "../page/plainPages";
import { pageHeaders } from "../page/policy";
import type { Session } from "../page/sessions";
import { isFormOf, Sessions } from "../page/sessions";
import type { Caller } from "./auth";
import { allows, isTheirs } from "./auth";
import type { ServiceContext } from "./context";
import { registerBuildPages } from "./pageRoutes";

/** Who looks at a page: the caller whose token the session was opened with. */
export interface Visit {
    readonly caller: Caller;
    readonly session: Session;
    readonly viewer: Viewer;
}

/** What the routes of the pages have. */
export interface PageContext extends ServiceContext {
    readonly assets: Assets;
    readonly visitOf: (request: FastifyRequest) => Visit;
    readonly sendPage: (reply: FastifyReply, page: Markup, status?: number) => FastifyReply;
}

/** A form's fields, which a browser sends as it sends an address's. */
const formType = "application/x-www-form-urlencoded";
const formLimit = 16 * 1024;

/**
 * The pages at `/builds`, for people. A browser logs in with a token and gets a session; with its cookie, it may read from
 * `/v1` too. What changes anything is a form that has the session's own token.
 */
export async function registerPage(
    app: FastifyInstance,
    service: ServiceContext,
    callerOf: (token: string) => Promise<Caller | undefined>,
    assets = new Assets(),
): Promise<void> {
    const sessions = new Sessions();
    const visits = new WeakMap<FastifyRequest, Visit>();
    const sessionFor = (request: FastifyRequest) => {
        const id = sessionOf(request);
        return id === undefined ? undefined : sessions.get(id);
    };
    const visit = async (request: FastifyRequest): Promise<Visit | undefined> => {
        const session = sessionFor(request);
        const caller = session && (await callerOf(session.token));
        if (!session || !caller || !allows(caller, "builds:read")) {
            return undefined;
        }
        const viewer = { name: caller.name, mayWrite: allows(caller, "builds:write"), csrf: session.csrf };
        return { caller, session, viewer };
    };
    const context: PageContext = {
        ...service,
        assets,
        visitOf: (request) => {
            const found = visits.get(request);
            if (!found) {
                throw new Error("the route does not ask who visits");
            }
            return found;
        },
        sendPage: (reply, page, status = 200) => reply.code(status).type("text/html; charset=utf-8").send(page.text),
    };

    // A script of a page reads the API with the page's session; nothing is changed that way.
    app.addHook("onRequest", (request, _, done) => {
        const isReading = request.method === "GET" && request.url.startsWith("/v1/");
        const isOurs = ["same-origin", "none", undefined].includes(request.headers["sec-fetch-site"]);
        if (isReading && isOurs && request.headers.authorization === undefined) {
            const session = sessionFor(request);
            if (session) {
                request.headers.authorization = `Bearer ${session.token}`;
            }
        }
        done();
    });

    await app.register((pages, _, registered) => {
        pages.addContentTypeParser(formType, { parseAs: "string", bodyLimit: formLimit }, (_request, body, done) =>
            done(null, new URLSearchParams(body.toString())),
        );
        pages.addHook("onSend", (request, reply, payload, done) => {
            for (const [name, value] of Object.entries(pageHeaders)) {
                if (!reply.hasHeader(name)) {
                    void reply.header(name, value);
                }
            }
            if (request.url.startsWith("/assets/") && reply.statusCode === 200) {
                void reply.header("cache-control", "public, max-age=31536000, immutable");
            }
            done(null, payload);
        });
        pages.setErrorHandler((error: Error & { readonly statusCode?: number }, request, reply) => {
            const status = error instanceof UserError ? 400 : (error.statusCode ?? 500);
            if (status >= 500) {
                process.stderr.write(`${request.method} ${request.routeOptions.url ?? "?"}: ${error.stack ?? ""}\n`);
            }
            const text = status >= 500 ? "The service has failed; its log says why." : error.message;
            return context.sendPage(reply, problemPage(assets.addresses, "This did not work", text), status);
        });
        registerLogin(pages, context, { sessions, visit, callerOf });
        // All others need a session, and a form its token.
        void pages.register((inner, __, done) => {
            inner.addHook("onRequest", async (request, reply) => {
                const found = await visit(request);
                if (found) {
                    visits.set(request, found);
                    return undefined;
                }
                // A link of another site brings no cookie along; one of this page does.
                if (request.method === "GET" && request.headers["sec-fetch-site"] === "cross-site") {
                    return context.sendPage(reply, returnPage(assets.addresses, request.url));
                }
                const next = request.method === "GET" ? request.url : "/builds";
                return reply.redirect(`/login?next=${encodeURIComponent(next)}`, 303);
            });
            inner.addHook("preHandler", async (request, reply) => {
                if (request.method === "GET") {
                    return undefined;
                }
                const fields = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
                const { session, viewer } = context.visitOf(request);
                return isFromHere(request) && isFormOf(session, fields.get("csrf"))
                    ? undefined
                    : context.sendPage(
                          reply,
                          problemPage(assets.addresses, "Not done", "The form is not of this session.", viewer),
                          403,
                      );
            });
            inner.post("/logout", { schema: { hide: true } }, (request, reply) => {
                sessions.close(sessionOf(request) ?? "");
                return reply.header("set-cookie", sessionCookie(request, undefined)).redirect("/login", 303);
            });
            registerBuildPages(inner, context);
            done();
        });
        registered();
    });
}

interface Login {
    readonly sessions: Sessions;
    readonly visit: (request: FastifyRequest) => Promise<Visit | undefined>;
    readonly callerOf: (token: string) => Promise<Caller | undefined>;
}

function registerLogin(pages: FastifyInstance, context: PageContext, { sessions, visit, callerOf }: Login): void {
    const { assets, sendPage } = context;
    const hidden = { schema: { hide: true } } as const;
    pages.get("/", hidden, (_, reply) => reply.redirect("/builds", 303));
    pages.get("/assets/:hash/:name", hidden, (request, reply) => {
        const asset = assets.get(request.url);
        return asset
            ? reply.type(asset.type).send(asset.content)
            : sendPage(reply, problemPage(assets.addresses, "Not found", "There is no such file."), 404);
    });
    pages.get("/login", hidden, async (request, reply) => {
        const query = new URL(request.url, "http://localhost").searchParams;
        const next = ownPath(query.get("next"));
        if (await visit(request)) {
            return reply.redirect(next, 303);
        }
        const problem = query.has("kept")
            ? "The browser did not keep the session. Over plain HTTP it is kept for localhost alone: use HTTPS."
            : undefined;
        return sendPage(reply, loginPage(assets.addresses, next, problem));
    });
    pages.post(
        "/login",
        // Of one address: tokens are not to be guessed here.
        { ...hidden, bodyLimit: formLimit, config: { rateLimit: { max: 20, timeWindow: "1 minute" } } },
        async (request, reply) => {
            const fields = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
            const next = ownPath(fields.get("next"));
            if (!isFromHere(request)) {
                return sendPage(reply, loginPage(assets.addresses, next, "The form is not of this page."), 403);
            }
            const token = (fields.get("token") ?? "").trim();
            const caller = token === "" ? undefined : await callerOf(token);
            if (!caller || !allows(caller, "builds:read")) {
                const problem = caller
                    ? `The token of ${caller.name} may not look at builds: it lacks the scope builds:read.`
                    : "This is no token that is known.";
                return sendPage(reply, loginPage(assets.addresses, next, problem), caller ? 403 : 401);
            }
            return reply
                .header("set-cookie", sessionCookie(request, sessions.open(token)))
                .redirect(`/login?kept&next=${encodeURIComponent(next)}`, 303);
        },
    );
}

/** A path of this service and of no other: `//elsewhere` would be another's. */
function ownPath(given: string | null): string {
    return given !== null && /^\/(?![/\\])[\u0021-\u007e]*$/.test(given) && !given.startsWith("/login")
        ? given
        : "/builds";
}

/** As at `/v1`. */
export function mayAct({ caller }: Visit, build: BuildRecord): boolean {
    return allows(caller, "builds:write") && isTheirs(caller, build);
}
