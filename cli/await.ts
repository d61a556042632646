import * as net from "node:net";

import type { awaitAlone } from "./awaitLauncher";
import { keepCompiled } from "./compileCache";
import { interruption } from "./interruption";
import type { Answer, LauncherPlace } from "./launcherSocket";
import { divided, isOwnSocket, launcherPlace, launcherProgram, messageLine, onMessages } from "./launcherSocket";
import { startLauncher } from "./startLauncher";

/*
 * `ke1 await`, as the stack's program runs it for each build: hands the wait over to one process for all of them, and
 * shows what it says. Loads nothing but Node.js's own modules, as twenty of these are started beside twenty builds.
 * Where there cannot be such a process, or it dies, the build is awaited here.
 */

/** A launcher that dies is replaced this often; then the build is awaited here. */
const mostLaunchers = 2;

async function main(): Promise<void> {
    const { own, shared } = divided(process.env);
    const place = process.env["KE1_AWAIT_ALONE"] ? undefined : launcherPlace(shared, launcherProgram, debug);
    const interrupted = interruption();
    for (let tries = 0; place && tries < mostLaunchers; tries++) {
        const connection = await reach(place, shared);
        const code = connection && (await handOver(connection, own, interrupted));
        if (code !== undefined) {
            process.exitCode = code;
            return;
        }
        debug(connection ? "the launcher is gone: going on without it" : "no launcher can be reached");
    }
    keepCompiled();
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    const alone = require("./awaitLauncher.js") as { readonly awaitAlone: typeof awaitAlone };
    await alone.awaitAlone(interrupted);
}

function debug(why: string): void {
    if (process.env["KE1_DEBUG"]) {
        process.stderr.write(`debug: launcher: ${why}\n`);
    }
}

/** Connects to the launcher; starts it where there is none. */
async function reach(
    place: LauncherPlace,
    environment: Readonly<Record<string, string>>,
): Promise<net.Socket | undefined> {
    return (await connected(place.socket)) ?? (await startLauncher(place, environment, () => connected(place.socket)));
}

async function connected(socket: string): Promise<net.Socket | undefined> {
    if (!isOwnSocket(socket)) {
        return undefined;
    }
    return new Promise((resolve) => {
        const connection = net.connect(socket);
        connection.once("connect", () => resolve(connection));
        connection.once("error", () => resolve(undefined));
    });
}

/** @returns the wait's exit code; undefined when the launcher has died */
async function handOver(
    connection: net.Socket,
    environment: Readonly<Record<string, string>>,
    interrupted: AbortSignal,
): Promise<number | undefined> {
    const interrupt = () => connection.write(messageLine({ interrupt: true }));
    interrupted.addEventListener("abort", interrupt);
    try {
        return await new Promise<number | undefined>((resolve) => {
            // Of one that dies there may be an error, and there is always an end.
            connection.on("error", () => undefined);
            connection.once("close", () => resolve(undefined));
            onMessages(connection, (message) => {
                const answer = message as Answer;
                if ("out" in answer) {
                    process.stdout.write(answer.out);
                } else if ("err" in answer) {
                    process.stderr.write(answer.err);
                } else {
                    resolve(answer.exit);
                    connection.destroy();
                }
            });
            connection.write(messageLine({ environment }));
            if (interrupted.aborted) {
                interrupt();
            }
        });
    } finally {
        interrupted.removeEventListener("abort", interrupt);
    }
}

void main();
