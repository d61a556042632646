import * as path from "node:path";

import { UserError } from "../contract/errors";
import { platformIsUp, platformUp } from "../platform";
import { Authenticator } from "../service/http/auth";
import { createServer } from "../service/http/server";
import { ServiceMetrics } from "../service/metrics";
import { Notifications } from "../service/notify/notifications";
import { notifySettings } from "../service/notify/settings";
import { BuildQueue } from "../service/queue";
import { Runner } from "../service/runner";
import type { ServiceSettings } from "../service/settings";
import { lockData } from "../service/dataLock";
import { registerWebhooks } from "../service/http/webhooks";
import type { SourceProvider } from "../service/sourceProvider";
import { serviceSources } from "../service/sources/provider";
import { QueueStore } from "../service/store";
import { ServiceTracing } from "../service/tracing";
import { addToken as makeToken } from "../service/tokens";
import { withImageSources } from "../service/triggers/imageSource";
import { watchedSources } from "../service/watch/source";
import { openStore } from "./context";
import type { QueueOptions, ServeOptions } from "./serve";
import { openTriggers } from "./serveTriggers";
import { stackSettings } from "./settings";
import { openWatcher } from "./watchActions";
import { lineOf } from "./watchView";

export { watch } from "./watchActions";

export { spawnAgents } from "./spawnAgents";

/** A queue of builds, ready to be started. */
export interface OpenQueue {
    readonly settings: ServiceSettings;
    readonly store: QueueStore;
    readonly queue: BuildQueue;
    readonly tracing?: ServiceTracing;
    /** Gives the data directory back. */
    readonly close: () => void;
}

/**
 * Opens the queue that a command's options describe; the platform is brought up where builds need it.
 *
 * @param around what else is to be done with each source
 */
export async function openQueue(
    options: QueueOptions,
    around: (sources: SourceProvider) => SourceProvider = (sources) => sources,
): Promise<OpenQueue> {
    const stack = stackSettings(options.cwd, options.stack);
    if (stack.needsPlatform && !(await platformIsUp())) {
        await platformUp();
    }
    const { blobEndpoint, blobContainer, registry, imageName } = stack.read();
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
        keepDays: options.keepDays,
        showLogs: options.showLogs,
        ke1: [process.execPath, process.argv[1] ?? ""],
    };
    const unlock = lockData(settings.dataDirectory);
    const store = QueueStore.open(settings.dataDirectory);
    const tracing = await ServiceTracing.open(store.database);
    const sources = withImageSources(watchedSources(around(serviceSources(settings, { registry, imageName }))));
    const runner = new Runner(settings, sources, process.env, tracing?.variables);
    const queue = new BuildQueue(store, runner, settings, () => `${blobEndpoint}/${blobContainer}`);
    tracing?.follow(queue);
    const close = (): void => {
        store.close();
        unlock();
    };
    return { settings, store, queue, tracing, close };
}

/** Serves until it is told to end; the builds that run then go on in the cluster, and are taken up at the next start. */
export async function serve(options: ServeOptions): Promise<void> {
    if (options.openShuttle && !["127.0.0.1", "::1", "localhost"].includes(options.listen)) {
        throw new UserError(
            `--open-shuttle is for a service that only this machine reaches; --listen is ${options.listen}`,
        );
    }
    const notify = notifySettings();
    const opened = await openQueue(options);
    const { settings, store, queue, tracing, close } = opened;
    const notifications = new Notifications(queue, store, openStore, notify, options.allowCallback, () => metrics);
    const metrics: ServiceMetrics = new ServiceMetrics({ queue, parallel: settings.parallel, notifications });
    const tokens = options.tokens === "" ? path.join(settings.dataDirectory, "tokens") : options.tokens;
    const { oidcIssuer, oidcAudience } = options;
    const oidc = oidcIssuer === undefined ? undefined : { issuer: oidcIssuer, audience: oidcAudience };
    const authenticator = await Authenticator.open(oidc && options.tokens === "" ? undefined : tokens, oidc);
    const triggers = openTriggers(options, settings, store, queue);
    const app = await createServer(
        { queue, settings, openStore, callbacks: notifications.callbacks, metrics, tracing },
        {
            authenticator,
            requestsPerMinute: options.requestsPerMinute,
            bodyLimit: options.bodyLimit,
            openShuttle: options.openShuttle,
        },
        triggers.register,
    );
    const watching = await openWatcher(options.watch, opened, options, (event) =>
        process.stderr.write(`${lineOf(event)}\n`),
    );
    if (options.watch.length > 0) {
        registerWebhooks(app, watching);
    }
    const address = await app.listen({ host: options.listen, port: options.port }).catch((error: unknown) => {
        throw (error as NodeJS.ErrnoException).code === "EADDRINUSE"
            ? new UserError(`port ${options.port} of ${options.listen} is taken; give another with --port`)
            : error;
    });
    notifications.start();
    queue.start();
    triggers.start();
    const { queued, running } = queue.counts();
    process.stderr.write(`ke1 serves builds at ${address} (${queued} queued, ${running} running)\n`);
    try {
        await Promise.race([ended(), watching.watcher.start()]);
    } finally {
        process.stderr.write("ending; what runs goes on in the cluster, and is taken up at the next start\n");
        // Whoever reads slowly, or not at all, does not hold up the end.
        const patience = setTimeout(() => app.server.closeAllConnections(), closePatience);
        // What launches builds first, and the queue with it, so that nothing begins any more.
        await Promise.all([triggers.stop(), watching.watcher.stop(), queue.stop(), app.close()]);
        clearTimeout(patience);
        await Promise.all([notifications.stop(), tracing?.close()]);
        close();
    }
}

/** How long an answer that is under way may take when the service ends, in milliseconds: less than a pod is given. */
const closePatience = 5000;

/** Prints a new token. */
export function addToken(name: string, scope: string, file: string): void {
    process.stdout.write(`${makeToken(file, name, scope)}\n`);
    process.stderr.write(`this is shown once; its hash is in ${file}. A running service takes it from now on\n`);
}

async function ended(): Promise<void> {
    await new Promise<void>((resolve) => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) {
            process.once(signal, () => resolve());
        }
    });
}
