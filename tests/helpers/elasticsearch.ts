import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { projectDirectory } from "./ke1";
import type { LogDocument } from "./logReceiver";
import { freePort } from "./ports";
import { TemporaryDirectory } from "./temporary";

/** It does not start as root. */
const user = 65_532;

const firstDocument = { message: "m", build_tag: "t", namespace: "n", job: "j", attempt: 1, source: "first", line: 1 };

/** Elasticsearch itself. `make elasticsearch` fetches it; without that, or without Java, it is not there. */
export class Elasticsearch {
    private constructor(
        public readonly url: string,
        private readonly child: ChildProcess,
        private readonly directory: TemporaryDirectory,
    ) {}

    public static get program(): string | undefined {
        const directory = path.join(projectDirectory, ".ke1", "elasticsearch");
        return fs.existsSync(directory) ? directory : undefined;
    }

    public static async start(address: string): Promise<Elasticsearch> {
        const port = await freePort(address);
        const transport = await freePort(address);
        const directory = new TemporaryDirectory();
        // A copy: it writes beside its programs, and its user must be able to read them.
        const home = path.join(directory.path, "elasticsearch");
        fs.cpSync(Elasticsearch.program ?? "", home, { recursive: true });
        const settings = { "discovery.type": "single-node", "network.host": address, "http.port": port };
        const lines = Object.entries({ ...settings, "transport.port": transport }).map(
            ([key, value]) => `${key}: ${value}`,
        );
        fs.writeFileSync(path.join(home, "config/elasticsearch.yml"), `${lines.join("\n")}\n`);
        give(directory.path);
        const child = spawn(path.join(home, "bin/elasticsearch"), [], {
            cwd: home,
            env: { PATH: process.env["PATH"], ES_JAVA_HOME: javaHome(), ES_JAVA_OPTS: "-Xms512m -Xmx512m" },
            stdio: "ignore",
            ...(process.getuid?.() === 0 ? { uid: user, gid: user } : {}),
        });
        const started = new Elasticsearch(`http://${address}:${port}`, child, directory);
        for (let tries = 0; tries < 1500 && child.exitCode === null; tries++) {
            const answer = await fetch(started.url).catch(() => undefined);
            if (answer?.ok) {
                // To make an index takes it longer than a build's end may be held up, on a machine under load.
                await fetch(`${started.url}/ke1-builds/_doc`, {
                    method: "POST",
                    headers: { "Content-Type": "application/json" },
                    body: JSON.stringify({ ...firstDocument, "@timestamp": new Date().toISOString() }),
                });
                return started;
            }
            await sleep(200);
        }
        await started.stop();
        throw new Error("Elasticsearch did not start");
    }

    /** The documents of one source, by their numbers. */
    public async documents(index: string, source: string): Promise<readonly LogDocument[]> {
        await fetch(`${this.url}/${index}/_refresh`, { method: "POST" });
        const answer = await fetch(`${this.url}/${index}/_search`, {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ size: 10_000, sort: ["line"], query: { match: { "source.keyword": source } } }),
        });
        const found = (await answer.json()) as { hits: { hits: { _source: LogDocument }[] } };
        return found.hits.hits.map(({ _source: document }) => document);
    }

    public async stop(): Promise<void> {
        if (this.child.exitCode === null) {
            const ended = once(this.child, "exit");
            this.child.kill("SIGKILL");
            await ended;
        }
        this.directory.remove();
    }
}

/** Where Java is, which its launcher wants to be told. */
function javaHome(): string {
    const java = (process.env["PATH"] ?? "")
        .split(":")
        .find((directory) => fs.existsSync(path.join(directory, "java")));
    return java === undefined ? "" : path.dirname(path.dirname(fs.realpathSync(path.join(java, "java"))));
}

function give(entry: string): void {
    if (process.getuid?.() !== 0) {
        return;
    }
    fs.chownSync(entry, user, user);
    if (fs.statSync(entry).isDirectory()) {
        fs.readdirSync(entry).forEach((name) => give(path.join(entry, name)));
    }
}
