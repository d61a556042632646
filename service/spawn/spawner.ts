import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

import { version } from "../../package.json";
import type { ServiceSettings } from "../settings";
import { readBase } from "../stackFile";
import { SpawnAgent } from "./agent";
import { AgentApi } from "./agentApi";
import type { JobBuilds } from "./builds";
import type { JobBase } from "./jobRequest";
import type { RegisterRequest } from "./protocol";
import { StateFile } from "./state";

export interface SpawnerSettings {
    readonly endpoint: string;
    /** Secret. */
    readonly token: string;
    /** `key=value`; jobs come by them. */
    readonly tags: readonly string[];
    /** `%spawn` is the agent's number, `%hostname` the machine's name. */
    readonly name: string;
    readonly agents: number;
    readonly priority?: string;
}

/** Runs the agents until they end: when they are told to, or when the server tells all of them. */
export async function runAgents(
    spawner: SpawnerSettings,
    service: ServiceSettings,
    builds: JobBuilds,
    signals: { readonly stopping: AbortSignal; readonly leaving: AbortSignal },
): Promise<void> {
    const directory = path.join(service.dataDirectory, "spawn");
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const api = new AgentApi({
        endpoint: spawner.endpoint,
        token: spawner.token,
        userAgent: `ke1/${version} (${os.platform()}; ${os.arch()})`,
    });
    const base = () => jobBase(service);
    // A mistake in the base stack is found now, and not by the first job.
    base();
    const states = Array.from(
        { length: agentCount(directory, spawner.agents) },
        (_, index) => new StateFile(path.join(directory, `agent-${index + 1}.json`)),
    );
    builds.forgetOthers(new Set(states.map((state) => state.get()?.job?.build ?? "")));
    const failed = new AbortController();
    await Promise.all(
        states.map(async (state, index) => {
            const number = index + 1;
            // Of more agents than there are now, only those have something to do that were killed with a job.
            const stopping = number > spawner.agents ? AbortSignal.abort() : signals.stopping;
            const agent = new SpawnAgent({
                ...{ api, builds, state, base, directory },
                registration: registrationOf(spawner, number),
                stopping: AbortSignal.any([stopping, failed.signal]),
                leaving: signals.leaving,
                say: (line) => process.stderr.write(`agent ${number}: ${line}\n`),
            });
            await agent.run().catch((error: unknown) => {
                failed.abort();
                throw error;
            });
        }),
    );
}

/** As many as are wanted, and as many as an earlier process has left. */
function agentCount(directory: string, wanted: number): number {
    const left = fs.readdirSync(directory).map((name) => Number(/^agent-(\d+)\.json$/.exec(name)?.[1] ?? 0));
    return Math.max(wanted, ...left);
}

function registrationOf({ name, tags, priority }: SpawnerSettings, number: number): RegisterRequest {
    const hostname = os.hostname();
    return {
        name: name.replaceAll("%spawn", String(number)).replaceAll("%hostname", hostname),
        hostname,
        os: `${os.type()} ${os.release()}`,
        arch: os.arch() === "x64" ? "amd64" : os.arch(),
        version,
        build: "x",
        meta_data: tags,
        pid: process.pid,
        ...(priority === undefined ? {} : { priority }),
        script_eval_enabled: true,
        ignore_in_dispatches: false,
        features: [],
    };
}

/** What the base stack's file says that jobs go on from. Read for each job: a change of it needs no restart. */
function jobBase(settings: ServiceSettings): JobBase {
    const { config } = readBase(settings);
    const value = (key: string) => config[`ke-1-build:${key}`] ?? config[key];
    const [chosen, given] = [value("environment"), value("environments")];
    return {
        environments: (typeof given === "string" ? JSON.parse(given) : (given ?? {})) as Readonly<
            Record<string, unknown>
        >,
        environment: typeof chosen === "string" ? chosen : "",
        timeoutSeconds: settings.timeoutSeconds,
    };
}
