import * as assert from "node:assert/strict";
import { mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import type { V1Deployment } from "@kubernetes/client-node";

import { leasesAnnotation } from "../../contract/dependencies";
import type { Cluster } from "../../launcher/cluster";
import { HeldDependencies } from "../../launcher/dependencies";

describe("a dependency that is held", () => {
    afterEach(() => mock.timers.reset());

    it("is given back after a renewal that is under way, which would take it again", async () => {
        let annotations: Record<string, string> = {};
        let held: Promise<void> = Promise.resolve();
        const apps = {
            readNamespacedDeployment: async (): Promise<V1Deployment> =>
                Promise.resolve({
                    metadata: { annotations },
                }),
            patchNamespacedDeployment: async ({ body }: { body: V1Deployment }) => {
                const before = held;
                held = Promise.resolve();
                await before;
                annotations = body.metadata?.annotations ?? {};
            },
        };
        const said: string[] = [];
        const cluster = { client: () => apps } as unknown as Cluster;
        const dependencies = new HeldDependencies(cluster, "builds", ["broker"], "job", (text) => said.push(text));

        mock.timers.enable({ apis: ["setInterval"] });
        await dependencies.acquire(AbortSignal.abort());
        let go = (): void => undefined;
        held = new Promise((resolve) => (go = resolve));
        mock.timers.tick(20_000);
        await turn();
        const released = dependencies.release();
        await turn();
        go();
        await released;
        await turn();
        assert.deepEqual(annotations, { [leasesAnnotation]: null });
        assert.equal(said.at(-1), "broker: scaled to zero");
    });
});
