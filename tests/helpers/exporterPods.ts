import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { text } from "node:stream/consumers";

import { projectDirectory } from "./ke1";

/** What a pod left. */
export interface PodEnd {
    readonly exporterCode: number | null;
    readonly buildCode: number | null;
    /** The exporter's last words, as JSON. */
    readonly words: string;
    /** From the build's end to the exporter's. */
    readonly exportSeconds: number;
}

/** What a measurement asks for. */
export interface PodOptions {
    /** The build's directory is on the volume, as where the image's is not writable: its artifacts are moved, not copied. */
    readonly onVolume?: boolean;
    /** Is told the exporter's process. */
    readonly exporterStarted?: (pid: number) => void;
}

/** Runs builds as a pod does, without a cluster: the real exporter and the real wrapper, on a real blob store. */
export class ExporterPods {
    private count = 0;

    /**
     * @param directory where the pods' volumes are made
     * @param sas a shared access signature for the container
     */
    public constructor(
        private readonly directory: string,
        private readonly containerUrl: string,
        private readonly sas: string,
        private readonly options: PodOptions = {},
    ) {}

    /**
     * Runs a build script in a pod of its own.
     *
     * @param environment what the exporter is told in addition
     */
    public async run(tag: string, script: string, environment: NodeJS.ProcessEnv = {}): Promise<PodEnd> {
        const pod = path.join(this.directory, `pod-${++this.count}`);
        const shared = path.join(pod, "shared");
        const source = path.join(this.options.onVolume ? shared : pod, "source");
        fs.mkdirSync(shared, { recursive: true });
        fs.mkdirSync(source);
        const credential = path.join(pod, "sas");
        fs.writeFileSync(credential, this.sas, { mode: 0o600 });
        const exporter = spawn(path.join(projectDirectory, "exporter/image/ke1-exporter"), {
            env: {
                KE1_DIR: shared,
                KE1_BUILD_TAG: tag,
                KE1_CONTAINER_URL: this.containerUrl,
                KE1_CREDENTIAL_FILE: credential,
                KE1_SOURCE_COMMIT: "",
                KE1_SOURCE_TREE: `sha256:${"0".repeat(64)}`,
                KE1_COMMAND: JSON.stringify(["make", "build"]),
                KE1_IMAGE: `localhost:5000/ke-1-build@sha256:${"a".repeat(64)}`,
                KE1_JOB_NAMESPACE: "ke-1",
                KE1_JOB_NAME: `ke-1-${tag}`,
                KE1_POD_NAME: `ke-1-${tag}-${this.count}`,
                KE1_POD_UID: `uid-${this.count}`,
                KE1_NODE_NAME: "node",
                KE1_TERMINATION_LOG: path.join(pod, "none"),
                ...environment,
            },
            stdio: ["ignore", "pipe", "ignore"],
        });
        this.options.exporterStarted?.(exporter.pid ?? NaN);
        const build = spawn("sh", [path.join(projectDirectory, "exporter/wrapper/wrap.sh"), "sh", "-c", script], {
            cwd: source,
            env: { PATH: process.env["PATH"], KE1_DIR: shared },
            stdio: "ignore",
        });
        const ended: bigint[] = [];
        for (const [index, child] of [build, exporter].entries()) {
            child.once("exit", () => (ended[index] = process.hrtime.bigint()));
        }
        const [words, exporterEnd, buildEnd] = await Promise.all([
            text(exporter.stdout),
            once(exporter, "exit"),
            once(build, "exit"),
        ]);
        assert.equal(words.trimEnd().split("\n").length, 1, "one line on standard output");
        return {
            exporterCode: exporterEnd[0] as number | null,
            buildCode: buildEnd[0] as number | null,
            words,
            exportSeconds: Number((ended[1] ?? 0n) - (ended[0] ?? 0n)) / 1e9,
        };
    }
}
