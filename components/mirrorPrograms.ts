import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { Mirror } from "../config/mirror";
import { commonLabels } from "./labels";

/** The shell programs: git.sh, sync.sh and source.sh of `mirror/`. */
export interface MirrorScripts {
    readonly git: string;
    readonly sync: string;
    readonly source: string;
}

export function readMirrorScripts(projectDirectory: string): MirrorScripts {
    const script = (program: string) => fs.readFileSync(path.join(projectDirectory, "mirror", `${program}.sh`), "utf8");
    return { git: script("git"), sync: script("sync"), source: script("source") };
}

/**
 * The ConfigMap with what the syncer and the makers of working copies run. Immutable, and named by its content: what runs
 * never sees its program change.
 */
export function programsOf(
    scripts: MirrorScripts,
    mirrors: readonly Mirror[],
    runAsUser: number,
    namespace: pulumi.Input<string>,
): k8s.core.v1.ConfigMapArgs & { readonly metadata: { readonly name: string } } {
    const data = {
        ...scripts,
        mirrors: mirrors.map((mirror) => `${mirror.name} ${mirror.remote}\n`).join(""),
        passwd: `root:x:0:0:root:/root:/bin/false\nke1:x:${runAsUser}:${runAsUser}:ke1:/tmp:/bin/false\n`,
    };
    const digest = createHash("sha256").update(JSON.stringify(data)).digest("hex");
    return {
        metadata: { namespace, name: `ke1-mirror-${digest.slice(0, 10)}`, labels: commonLabels },
        immutable: true,
        data,
    };
}
