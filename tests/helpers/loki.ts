import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { stringify } from "yaml";

import { projectDirectory } from "./ke1";
import { freePort } from "./ports";
import { TemporaryDirectory } from "./temporary";

/** What Loki has of one stream. */
export interface LokiStream {
    readonly stream: Readonly<Record<string, string>>;
    /** Nanoseconds and line, oldest first. */
    readonly values: readonly (readonly [string, string])[];
}

/** Grafana's Loki itself, which asks for a tenant. `make loki` compiles it; without that it is not there. */
export class Loki {
    private constructor(
        public readonly url: string,
        private readonly child: ChildProcess,
        private readonly directory: TemporaryDirectory,
    ) {}

    public static get program(): string | undefined {
        const file = path.join(projectDirectory, ".ke1", "loki");
        return fs.existsSync(file) ? file : undefined;
    }

    public static async start(address: string): Promise<Loki> {
        const port = await freePort(address);
        const directory = new TemporaryDirectory();
        const data = path.join(directory.path, "data");
        const file = directory.file("loki.yaml", stringify(configuration(address, port, data)));
        const child = spawn(Loki.program ?? "", [`-config.file=${file}`], { stdio: "ignore" });
        const loki = new Loki(`http://${address}:${port}`, child, directory);
        for (let tries = 0; tries < 600 && child.exitCode === null; tries++) {
            const answer = await fetch(`${loki.url}/ready`).catch(() => undefined);
            if (answer?.ok) {
                return loki;
            }
            await sleep(200);
        }
        await loki.stop();
        throw new Error("Loki did not start");
    }

    public async query(tenant: string, selector: string): Promise<readonly LokiStream[]> {
        const query = new URLSearchParams({ query: selector, limit: "5000", direction: "forward", since: "1h" });
        const answer = await fetch(`${this.url}/loki/api/v1/query_range?${query.toString()}`, {
            headers: { "X-Scope-OrgID": tenant },
        });
        if (!answer.ok) {
            throw new Error(`Loki answered ${answer.status} ${await answer.text()}`);
        }
        const { data } = (await answer.json()) as { data: { result: LokiStream[] } };
        return data.result;
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

/** All of Loki in one process, on local files (https://grafana.com/docs/loki/latest/configure/examples/configuration-examples/). */
function configuration(address: string, port: number, data: string) {
    return {
        auth_enabled: true,
        server: {
            http_listen_address: address,
            http_listen_port: port,
            grpc_listen_address: "127.0.0.1",
            grpc_listen_port: 0,
            log_level: "error",
        },
        common: {
            instance_addr: "127.0.0.1",
            path_prefix: data,
            storage: { filesystem: { chunks_directory: `${data}/chunks`, rules_directory: `${data}/rules` } },
            replication_factor: 1,
            ring: { kvstore: { store: "inmemory" } },
        },
        schema_config: {
            configs: [
                {
                    from: "2024-01-01",
                    store: "tsdb",
                    object_store: "filesystem",
                    schema: "v13",
                    index: { prefix: "index_", period: "24h" },
                },
            ],
        },
        analytics: { reporting_enabled: false },
    };
}
