import * as fs from "node:fs";
import * as net from "node:net";

import { abandoned } from "../launcher/abandoned";
import { Cluster } from "../launcher/cluster";
import { Pace } from "../launcher/pace";
import type { BuildStore } from "../launcher/store";
import { awaitJob } from "./awaitJob";
import { openStore } from "./context";
import type { Answer, Request } from "./launcherSocket";
import { divided, launcherPlace, launcherProgram, messageLine, onMessages } from "./launcherSocket";

/** Milliseconds without a client after which a launcher ends. */
const idleLimit = 1000;
/** The same before the first has come. */
const firstLimit = 10_000;

/** Awaits the build that this process's environment describes, in this process. */
export async function awaitAlone(interrupted: AbortSignal): Promise<void> {
    process.exitCode = await awaitJob({
        environment: process.env,
        out: (text) => process.stdout.write(text),
        err: (text) => process.stderr.write(text),
        signal: interrupted,
        cluster: (kubeconfig, context) => Cluster.connect({ kubeconfig, context }),
        store: openStore,
    });
}

/**
 * Awaits the builds of all who connect, with one client of each cluster and one of each store, until nobody does any more.
 * This process's environment is theirs, but for what is one build's own.
 */
export function serveAwaits(): void {
    const place = launcherPlace(divided(process.env).shared, launcherProgram, () => undefined);
    if (!place) {
        process.exitCode = 1;
        return;
    }
    const clients = new Clients();
    let count = 0;
    const server = net.createServer((connection) => {
        clearTimeout(idle);
        count++;
        connection.once("close", () => {
            if (--count === 0) {
                idle = setTimeout(end, idleLimit);
            }
        });
        serve(connection, clients);
    });
    // Whoever is not accepted any more starts another.
    const end = () => server.close(() => process.exit());
    let idle = setTimeout(end, firstLimit);
    server.on("error", () => process.exit(1));
    // What a launcher that was killed has left; who starts one has looked whether it lives.
    fs.rmSync(place.socket, { force: true });
    process.umask(0o177);
    server.listen(place.socket, () => process.umask(0o077));
}

function serve(connection: net.Socket, clients: Clients): void {
    const ending = new AbortController();
    const say = (answer: Answer) => {
        if (connection.writable) {
            connection.write(messageLine(answer));
        }
    };
    connection.on("error", () => undefined);
    connection.once("close", () => ending.abort(abandoned));
    let hasBegun = false;
    onMessages(connection, (message) => {
        const request = message as Request;
        if ("interrupt" in request) {
            ending.abort();
        } else if (!hasBegun) {
            hasBegun = true;
            void awaitJob({
                environment: { ...process.env, ...request.environment },
                out: (out) => say({ out }),
                err: (err) => say({ err }),
                signal: ending.signal,
                cluster: (...asked) => clients.cluster(...asked),
                store: (url) => clients.store(url),
                pace: clients.pace,
            }).then((exit) => say({ exit }));
        }
    });
}

/** Milliseconds after which those who come get other clients, with credentials that may have been renewed. */
const clientsLifetime = 300_000;

/** What builds share. */
class Clients {
    public readonly pace = new Pace();
    private readonly clusters = new Map<string, { readonly made: number; readonly client: Cluster }>();
    private readonly stores = new Map<string, { readonly made: number; readonly client: BuildStore }>();

    public cluster(kubeconfig: string, context: string): Cluster {
        return kept(this.clusters, JSON.stringify([kubeconfig, context]), () => {
            const made = Cluster.connect({ kubeconfig, context });
            made.shareWatches();
            return made;
        });
    }

    public store(containerUrl: string): BuildStore {
        return kept(this.stores, containerUrl, () => openStore(containerUrl));
    }
}

function kept<T>(clients: Map<string, { readonly made: number; readonly client: T }>, key: string, make: () => T): T {
    const found = clients.get(key);
    if (found && Date.now() - found.made < clientsLifetime) {
        return found.client;
    }
    const client = make();
    clients.set(key, { made: Date.now(), client });
    return client;
}
