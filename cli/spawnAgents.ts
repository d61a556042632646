import * as fs from "node:fs";

import { UserError } from "../contract/errors";
import { JobBuilds } from "../service/spawn/builds";
import { withOwnTag } from "../service/spawn/ownTag";
import { runAgents } from "../service/spawn/spawner";
import { openStore } from "./context";
import type { openQueue } from "./queueService";
import type { SpawnOptions } from "./spawn";

/** Takes jobs until it is told to end: once to finish those that run, twice to leave them to the next start. */
export async function spawnAgents(options: SpawnOptions, open: typeof openQueue): Promise<void> {
    const token = readToken(options.tokenFile);
    const endpoint = checkedEndpoint(options.endpoint);
    const { settings, queue, tracing, close } = await open({ ...options, parallel: options.spawn }, withOwnTag);
    const [stopping, leaving] = [new AbortController(), new AbortController()];
    const told = () => {
        if (stopping.signal.aborted) {
            process.stderr.write("leaving; jobs that run are taken up at the next start\n");
            leaving.abort();
        } else {
            process.stderr.write("taking no more jobs; a second signal leaves those that run to the next start\n");
            stopping.abort();
        }
    };
    process.on("SIGINT", told).on("SIGTERM", told);
    queue.start();
    const builds = new JobBuilds(queue, openStore, settings.parallel);
    const { queue: queueName, tags, name, spawn: agents, priority } = options;
    try {
        await runAgents(
            { endpoint, token, tags: [`queue=${queueName}`, ...tags], name, agents, priority },
            settings,
            builds,
            { stopping: stopping.signal, leaving: leaving.signal },
        );
        if (!leaving.signal.aborted) {
            // What the last builds have made in the cluster is removed first.
            await Promise.race([queue.idle().then(async () => builds.settled()), aborted(leaving.signal)]);
        }
    } finally {
        await queue.stop();
        await tracing?.close();
        close();
    }
}

async function aborted(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function readToken(file: string | undefined): string {
    if (file === undefined) {
        const token = process.env["BUILDKITE_AGENT_TOKEN"]?.trim() ?? "";
        if (token === "") {
            throw new UserError(
                "there is no agent token: give its file with --token-file, or set BUILDKITE_AGENT_TOKEN",
            );
        }
        return token;
    }
    let token: string;
    try {
        token = fs.readFileSync(file, "utf8").trim();
    } catch (error) {
        throw new UserError(`the token's file ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? ""})`);
    }
    if (token === "" || /\s/.test(token)) {
        throw new UserError(`${file} has no agent token: it must be the token, and nothing else`);
    }
    return token;
}

/** A token is sent over TLS only, except on this machine. */
function checkedEndpoint(endpoint: string): string {
    const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    if (!url || !["http:", "https:"].includes(url.protocol) || url.username !== "" || url.password !== "") {
        throw new UserError(`--endpoint must be an http(s) address without a credential; it is ${endpoint}`);
    }
    if (url.protocol === "http:" && !/^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(url.hostname)) {
        throw new UserError("--endpoint must be https: the agent token would be sent in the clear");
    }
    return endpoint;
}
