import * as assert from "node:assert/strict";

import { BatchV1Api, CoreV1Api, KubeConfig, SchedulingV1Api } from "@kubernetes/client-node";

import { BuildableRepository } from "./buildable";
import { platform, TemporaryStack } from "./ke1";

/** The embedded platform's API server, as its administrator. */
export function api() {
    const config = new KubeConfig();
    config.loadFromFile(platform().kubeconfig);
    return {
        core: config.makeApiClient(CoreV1Api),
        batch: config.makeApiClient(BatchV1Api),
        scheduling: config.makeApiClient(SchedulingV1Api),
    };
}

/** A source and images that are there: only then is what a build takes the build's own time. */
export interface Prepared {
    readonly repository: BuildableRepository;
    readonly buildTag: string;
    readonly image: string;
    readonly exporterImage: string;
}

/** Builds once, as anybody would, and keeps the images. */
export async function prepare(): Promise<Prepared> {
    const repository = new BuildableRepository(["mkdir bin && echo built > bin/it"]);
    const buildTag = repository.commit();
    const stack = new TemporaryStack("prepare", { source: repository.path });
    try {
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const { items } = await api().core.listNamespacedPod({ namespace: stack.namespace });
        const imageOf = (container: string) =>
            items[0]?.spec?.containers.find(({ name }) => name === container)?.image ?? "";
        return { repository, buildTag, image: imageOf("build"), exporterImage: imageOf("exporter") };
    } finally {
        await stack.remove();
    }
}

/** A build's script: numbered lines, each with the time it was printed at, one each `every` seconds; then an artifact. */
export function countingBuild(lines: number, every = 0.25, then = "mkdir -p bin && echo hello > bin/greeting"): string {
    const line = 'i=$((i+1)); echo "line $i $(date +%s.%N)"';
    return `i=0; while [ $i -lt ${lines} ]; do ${line}; sleep ${every}; done; ${then}`;
}
