import * as fs from "node:fs";
import * as path from "node:path";

import { kubectl, platform, projectDirectory, run, TemporaryStack } from "../tests/helpers/ke1";
import { TemporaryRepository } from "../tests/helpers/temporary";
import { reportTable } from "./report";
import { ratios, summarize } from "./statistics";

/**
 * What `ke1 up` costs over doing it by hand. Both sides run the same command in the same image, which is on the node
 * already: `kubectl create` and `kubectl wait` of a plain Job without log or artifacts, and `ke1 up` of a new BUILD_TAG on
 * a stack that is there. The sides take turns in one run, so that a machine whose speed drifts is the same to both.
 */
const runs = Number(process.env["RUNS"] ?? "7");
const many = Number(process.env["MANY"] ?? "20");
const seconds = Number(process.env["BUILD_SECONDS"] ?? "2");
const buildScript = `echo building; sleep ${seconds}; mkdir -p bin; echo built > bin/result`;

async function main(): Promise<void> {
    const repository = new TemporaryRepository();
    repository.file("Dockerfile", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nWORKDIR /src\nRUN chown 65532:65532 .\n");
    const stack = new TemporaryStack("bench", {
        source: repository.path,
        command: ["sh", "-c", buildScript],
        cpuRequest: "10m",
    });
    const byHand = new ByHand();
    try {
        let tags = 0;
        const commit = () => {
            const tag = `run-${++tags}`;
            repository.commit(tag);
            repository.git("tag", tag);
            return tag;
        };
        const up = async (configuration: Record<string, unknown>) => {
            stack.configure(configuration);
            return timed("ke1 up", async () => stack.ke1(["up", "--yes"]));
        };
        // Builds the image, and puts it and all else in place; from here on both sides use the same one by its digest.
        await up({ buildTag: commit() });
        const image = (await stack.ke1(["stack", "output", "image"])).stdout.trim();
        await byHand.prepare(image);
        await byHand.run(1);
        await up({ image, buildTag: commit() });

        const one = { byHand: [] as number[], ke1: [] as number[] };
        for (let count = 0; count < runs; count++) {
            one.byHand.push(await byHand.run(1));
            one.ke1.push(await up({ image, buildTag: commit() }));
        }
        const nothing = { up: [] as number[], preview: [] as number[], cli: [] as number[] };
        const nothingToDo = async () => timed("ke1 up", async () => stack.ke1(["up", "--yes"]));
        const cli = await pulumiCli(stack);
        // The first run of each finds what it does not have from the other.
        await cli?.();
        await nothingToDo();
        for (let count = 0; count < runs; count++) {
            nothing.up.push(await nothingToDo());
            nothing.preview.push(await timed("ke1 preview", async () => stack.ke1(["preview"])));
            if (cli) {
                nothing.cli.push(await cli());
            }
        }
        const several = { byHand: [] as number[], ke1: [] as number[] };
        for (let count = 0; count < runs; count++) {
            several.byHand.push(await byHand.run(many));
            several.ke1.push(await up({ image, buildTags: Array.from({ length: many }, commit) }));
        }
        reportTable(
            "launch",
            "seconds, or a ratio",
            {
                [`kubectl create + wait, 1 build of ${seconds} s`]: summarize(one.byHand),
                [`ke1 up, 1 build of ${seconds} s`]: summarize(one.ke1),
                "1 build: ke1 up / kubectl": ratios(one.ke1, one.byHand),
                [`kubectl create + wait, ${many} builds at once`]: summarize(several.byHand),
                [`ke1 up, ${many} builds at once`]: summarize(several.ke1),
                [`${many} builds at once: ke1 up / kubectl`]: ratios(several.ke1, several.byHand),
                "ke1 up, nothing to do": summarize(nothing.up),
                "ke1 preview, nothing to do": summarize(nothing.preview),
                ...(cli && {
                    "pulumi up, nothing to do": summarize(nothing.cli),
                    "nothing to do: ke1 up / pulumi up": ratios(nothing.up, nothing.cli),
                }),
            },
            { runs, many, buildSeconds: seconds },
        );
    } finally {
        await byHand.remove();
        await stack.remove();
        repository.remove();
    }
}

async function timed(what: string, action: () => Promise<{ code: number; stderr: string; seconds: number }>) {
    const finished = await action();
    if (finished.code !== 0) {
        throw new Error(`${what} failed:\n${finished.stderr}`);
    }
    return finished.seconds;
}

/** `pulumi up` on the same stack; undefined where there is no Pulumi CLI on the PATH. */
async function pulumiCli(stack: TemporaryStack): Promise<(() => Promise<number>) | undefined> {
    if ((await run("pulumi", ["version"]).catch(() => undefined))?.code !== 0) {
        return undefined;
    }
    const { kubeconfig, dockerHost } = platform();
    const environment = { ...stack.environment, KUBECONFIG: kubeconfig, DOCKER_HOST: dockerHost };
    const args = ["up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name];
    return async () => timed("pulumi up", async () => run("pulumi", args, environment));
}

/** The baseline: plain Jobs in a namespace of their own. */
class ByHand {
    private readonly namespace = `tmp-bench-${process.pid}`;
    private made = 0;
    private image = "";

    public async prepare(image: string): Promise<void> {
        this.image = image;
        await kubectl("create", "namespace", this.namespace);
    }

    public async run(count: number): Promise<number> {
        const names = Array.from({ length: count }, () => `by-hand-${++this.made}`);
        const file = path.join(projectDirectory, ".ke1", `${this.namespace}.json`);
        fs.mkdirSync(path.dirname(file), { recursive: true });
        const items = names.map((name) => this.job(name));
        fs.writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
        const started = process.hrtime.bigint();
        await kubectl("create", "-n", this.namespace, "-f", file);
        await kubectl(
            "wait",
            "-n",
            this.namespace,
            "--for=condition=complete",
            "--timeout=600s",
            ...names.map((name) => `job/${name}`),
        );
        const took = Number(process.hrtime.bigint() - started) / 1e9;
        await kubectl("delete", "-n", this.namespace, "-f", file, "--wait=true");
        fs.rmSync(file);
        return took;
    }

    public async remove(): Promise<void> {
        await kubectl("delete", "namespace", this.namespace, "--ignore-not-found");
    }

    private job(name: string): object {
        return {
            apiVersion: "batch/v1",
            kind: "Job",
            metadata: { name },
            spec: {
                backoffLimit: 0,
                template: {
                    spec: {
                        restartPolicy: "Never",
                        automountServiceAccountToken: false,
                        enableServiceLinks: false,
                        containers: [
                            {
                                name: "build",
                                image: this.image,
                                command: ["sh", "-c", buildScript],
                                securityContext: { runAsUser: 65532, runAsGroup: 65532 },
                                resources: { requests: { cpu: "10m" } },
                            },
                        ],
                    },
                },
            },
        };
    }
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
