import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { HollowNodes } from "../tests/helpers/hollowNodes";
import { kubectl, projectDirectory, TemporaryStack } from "../tests/helpers/ke1";
import { api, prepare } from "../tests/helpers/prepared";
import type { Prepared } from "../tests/helpers/prepared";
import { TemporaryDirectory } from "../tests/helpers/temporary";
import { HollowBuilds } from "./scale/hollowBuilds";
import { ProcessTree } from "./scale/processes";
import { CountedIdentity, difference } from "./scale/requests";
import { reportTable } from "./report";
import { summarize } from "./statistics";
import type { Sample } from "./statistics";

/**
 * Many builds by one `ke1 up` (docs/scale.md): HOLLOW of them on NODES hollow nodes, where kwok says of the pods that they run
 * and this bench leaves in the store what a build leaves there; then REAL of them on the one real node. The launcher, the
 * cluster's control plane and the store are the real ones. The time until all are launched and until all are known to have
 * succeeded, what memory and CPU time the launcher took, and how many requests a build costs the API server.
 */
const hollow = Number(process.env["HOLLOW"] ?? "1000");
const nodes = Number(process.env["NODES"] ?? "100");
const real = Number(process.env["REAL"] ?? "100");
const seconds = Number(process.env["BUILD_SECONDS"] ?? "10");

async function main(): Promise<void> {
    const prepared = await prepare();
    try {
        if (real > 0) {
            await realBuilds(prepared, real);
        }
        if (hollow > 0) {
            await hollowBuilds(prepared, hollow);
        }
    } finally {
        prepared.repository.remove();
    }
}

/** On the node that is there: what it has no room for waits its turn. */
async function realBuilds(prepared: Prepared, count: number): Promise<void> {
    const bench = await Launcher.create("bench-real", prepared, {
        command: ["sh", "-c", "mkdir -p bin; sleep 2; echo built > bin/result"],
        cpuRequest: "10m",
        memoryRequest: "32Mi",
    });
    try {
        await bench.up({ buildTag: bench.tags("first", 1)[0] });
        const measured = await bench.measure(bench.tags("real", count));
        reportTable("scale-real", "seconds", named(`${count} builds on one node`, measured), { count });
    } finally {
        await bench.remove();
    }
}

async function hollowBuilds(prepared: Prepared, count: number): Promise<void> {
    const hollowNodes = new HollowNodes();
    const bench = await Launcher.create("bench-hollow", prepared, {
        command: ["sh", "-c", "mkdir -p bin; echo built > bin/result"],
        cpuRequest: "10m",
        memoryRequest: "32Mi",
        maxPods: count + 10,
    });
    const { namespace } = bench.stack;
    const container = bench.stack.containerClient();
    const builds = new HollowBuilds(namespace, container, seconds * 1000, count, 120_000, () => bench.interrupt());
    try {
        const [first = ""] = bench.tags("first", 1);
        await bench.up({ buildTag: first });
        await builds.copy(first);
        await hollowNodes.start();
        const each = Math.ceil(count / nodes);
        await Promise.all(
            Array.from({ length: nodes }, (_, index) =>
                hollowNodes.add(String(index), { resources: { pods: String(each) } }),
            ),
        );
        builds.start();
        const measured = await bench.measure(bench.tags("hollow", count), {
            nodeRequirements: [`${HollowNodes.key}=${hollowNodes.id}`],
            tolerations: [`${HollowNodes.key}=${hollowNodes.id}:NoSchedule`],
        });
        const since = (at: number) => summarize([(at - bench.startedAt) / 1000]);
        reportTable(
            "scale-hollow",
            "seconds",
            named(`${count} on ${nodes} nodes`, {
                "until the first pod ran": since(builds.firstRuns),
                "until the last pod ran": since(builds.lastRuns),
                "until the last build was stored": since(builds.lastStored),
                ...measured,
            }),
            { count, nodes, seconds },
        );
    } finally {
        const played = builds.stop();
        await played.catch(() => undefined);
        await bench.remove();
        await hollowNodes.remove();
        // Told last: it is no reason to leave anything behind.
        await played;
    }
}

/** In the bench's tables, whatever is not in seconds has its unit behind a comma. */
function named(what: string, samples: Readonly<Record<string, Sample>>): Readonly<Record<string, Sample>> {
    return Object.fromEntries(Object.entries(samples).map(([name, sample]) => [`${what}: ${name}`, sample]));
}

/** `ke1 up` on a stack of its own, whose requests are counted. */
class Launcher {
    public startedAt = 0;
    private running: ChildProcess | undefined;

    private constructor(
        public readonly stack: TemporaryStack,
        private readonly prepared: Prepared,
        private readonly identity: CountedIdentity,
        private readonly identityNamespace: string,
        private readonly directory: TemporaryDirectory,
    ) {}

    public static async create(
        name: string,
        prepared: Prepared,
        configuration: Readonly<Record<string, unknown>>,
    ): Promise<Launcher> {
        const directory = new TemporaryDirectory();
        const namespace = `tmp-${name}-${process.pid}`;
        await api().core.createNamespace({ body: { metadata: { name: namespace } } });
        const identity = new CountedIdentity(namespace);
        const kubeconfig = directory.file("kubeconfig", await identity.create(), 0o600);
        const stack = new TemporaryStack(name, {
            ...{ source: prepared.repository.path, image: prepared.image, exporterImage: prepared.exporterImage },
            ...{ kubeconfig, ...configuration },
        });
        return new Launcher(stack, prepared, identity, namespace, directory);
    }

    public async up(configuration: Readonly<Record<string, unknown>>): Promise<void> {
        this.stack.configure(configuration);
        const { code, stderr } = await this.stack.ke1(["up", "--yes"]);
        if (code !== 0) {
            throw new Error(`ke1 up ended with ${code}:\n${stderr.slice(-4000)}`);
        }
    }

    /** BUILD_TAGs, each of which is a tag in the source. */
    public tags(prefix: string, count: number): readonly string[] {
        const { repository } = this.prepared;
        const tags = Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
        const commit = repository.git("rev-parse", "HEAD");
        tags.forEach((tag) => repository.file(`.git/refs/tags/${tag}`, `${commit}\n`));
        return tags;
    }

    public async measure(
        buildTags: readonly string[],
        configuration: Readonly<Record<string, unknown>> = {},
    ): Promise<Readonly<Record<string, Sample>>> {
        this.stack.configure({ ...configuration, buildTags });
        const before = await this.identity.count();
        this.startedAt = Date.now();
        const log = path.join(projectDirectory, ".ke1", `${this.stack.name}.log`);
        fs.mkdirSync(path.dirname(log), { recursive: true });
        const output = fs.openSync(log, "w", 0o600);
        const child = spawn(path.join(projectDirectory, "bin", "ke1"), ["up", "--yes", "--stack", this.stack.name], {
            cwd: projectDirectory,
            env: { ...process.env, ...this.stack.environment },
            stdio: ["ignore", output, output],
        });
        this.running = child;
        const tree = new ProcessTree(child.pid ?? 0, this.stack.environment["PULUMI_BACKEND_URL"] ?? "");
        const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
        const whole = (Date.now() - this.startedAt) / 1000;
        tree.stop();
        fs.closeSync(output);
        const requests = difference(before, await this.identity.count());
        const { items } = await api().batch.listNamespacedJob({ namespace: this.stack.namespace });
        const mine = items.filter(({ metadata }) => buildTags.includes(metadata?.labels?.["ke1.dev/build-tag"] ?? ""));
        const created = mine.map(({ metadata }) => metadata?.creationTimestamp?.getTime() ?? 0);
        const said = fs.readFileSync(log, "utf8");
        const succeeded = said.split("\n").filter((line) => /\bSucceeded: \d+ artifacts?/.test(line)).length;
        process.stdout.write(
            `ke1 up ended with ${code ?? "a signal"} in ${whole.toFixed(1)} s; ${succeeded} of ${buildTags.length} ` +
                `succeeded (${log}); requests: ${JSON.stringify(requests)}\n`,
        );
        const one = (value: number) => summarize([value]);
        const each = (value: number) => one(value / buildTags.length);
        return {
            "until the last Job was made": one((Math.max(...created, this.startedAt) - this.startedAt) / 1000),
            "ke1 up": one(whole),
            "its CPU time": one(tree.cpuSeconds),
            "did not succeed, builds": one(buildTags.length - succeeded),
            ...Object.fromEntries(
                [...tree.peaks].flatMap(([part, { resident, own, processes }]) => [
                    [`${part}, processes`, one(processes)],
                    [`${part}: resident, MiB`, one(resident)],
                    [`${part}: of their own, MiB`, one(own)],
                ]),
            ),
            "open by the engine, files": one(tree.mostDescriptors),
            "of one build, requests": each(Object.values(requests).reduce((sum, value) => sum + value, 0)),
            ...Object.fromEntries(
                Object.entries(requests)
                    .filter(([, value]) => value > 0)
                    .map(([verb, value]) => [`of them ${verb}, requests`, each(value)]),
            ),
        };
    }

    public interrupt(): void {
        this.running?.kill("SIGINT");
    }

    public async remove(): Promise<void> {
        await this.stack.remove();
        await this.identity.remove();
        await kubectl("delete", "namespace", this.identityNamespace, "--ignore-not-found", "--wait=false");
        this.directory.remove();
    }
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
