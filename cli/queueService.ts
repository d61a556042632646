import * as path from "node:path";

import { UserError } from "../contract/errors";
import { platformIsUp, platformUp } from "../platform";
import { Authenticator } from "../service/http/auth";
import { createServer } from "../service/http/server";
import { BuildQueue } from "../service/queue";
import { Runner } from "../service/runner";
import type { ServiceSettings } from "../service/settings";
import { localSources, noSources } from "../service/sourceProvider";
import { QueueStore } from "../service/store";
import { addToken as makeToken } from "../service/tokens";
import { withImageSources } from "../service/triggers/imageSource";
import { openStore } from "./context";
import type { QueueOptions, ServeOptions } from "./serve";
import { stackSettings } from "./settings";
import { openTriggers } from "./serveTriggers";

/** A queue of builds, ready to be started. */
interface OpenQueue {
    readonly settings: ServiceSettings;
    readonly store: QueueStore;
    readonly queue: BuildQueue;
}

/** Opens the queue that a command's options describe; the platform is brought up where builds need it. */
export async function openQueue(options: QueueOptions): Promise<OpenQueue> {
    const stack = stackSettings(options.cwd, options.stack);
    if (stack.needsPlatform && !(await platformIsUp())) {
        await platformUp();
    }
    const { blobEndpoint, blobContainer } = stack.read();
    const settings: ServiceSettings = {
        dataDirectory: path.resolve(options.data),
        projectDirectory: stack.projectDirectory,
        baseStack: options.stack,
        parallel: options.parallel,
        timeoutSeconds: options.timeout,
        namespaces: options.namespace,
        noCache: !options.cache,
        extraBuildArgs: options.buildArg,
        allowSources: options.allowSource,
        localSources: options.localSources,
        showLogs: options.showLogs,
        ke1: [process.execPath, process.argv[1] ?? ""],
    };
    const store = QueueStore.open(settings.dataDirectory);
    const runner = new Runner(settings, withImageSources(settings.localSources ? localSources : noSources));
    const queue = new BuildQueue(store, runner, settings, () => `${blobEndpoint}/${blobContainer}`);
    return { settings, store, queue };
}

/** Serves until it is told to end; the builds that run then go on in the cluster, and are taken up at the next start. */
export async function serve(options: ServeOptions): Promise<void> {
    const { settings, store, queue } = await openQueue(options);
    const tokens = options.tokens === "" ? path.join(settings.dataDirectory, "tokens") : options.tokens;
    const { oidcIssuer, oidcAudience } = options;
    const oidc = oidcIssuer === undefined ? undefined : { issuer: oidcIssuer, audience: oidcAudience };
    const authenticator = await Authenticator.open(oidc && options.tokens === "" ? undefined : tokens, oidc);
    const triggers = openTriggers(options, settings, store, queue);
    const app = await createServer(
        { queue, settings, openStore },
        { authenticator, requestsPerMinute: options.requestsPerMinute, bodyLimit: options.bodyLimit },
        triggers.register,
    );
    const address = await app.listen({ host: options.listen, port: options.port }).catch((error: unknown) => {
        throw (error as NodeJS.ErrnoException).code === "EADDRINUSE"
            ? new UserError(`port ${options.port} of ${options.listen} is taken; give another with --port`)
            : error;
    });
    queue.start();
    triggers.start();
    const { queued, running } = queue.counts();
    process.stderr.write(`ke1 serves builds at ${address} (${queued} queued, ${running} running)\n`);
    await ended();
    process.stderr.write("ending; what runs goes on in the cluster, and is taken up at the next start\n");
    await app.close();
    await triggers.stop();
    await queue.stop();
    store.close();
}

/** Prints a new token. */
export function addToken(name: string, scope: string, file: string): void {
    process.stdout.write(`${makeToken(file, name, scope)}\n`);
    process.stderr.write(`this is shown once; its hash is in ${file}. A running service reads it at its next start\n`);
}

async function ended(): Promise<void> {
    await new Promise<void>((resolve) => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) {
            process.once(signal, () => resolve());
        }
    });
}
