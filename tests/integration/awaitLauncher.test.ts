import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import type { Finished } from "../helpers/ke1";
import { TemporaryStack } from "../helpers/ke1";
import type { Prepared } from "../helpers/prepared";
import { api, countingBuild, prepare } from "../helpers/prepared";

interface Running {
    readonly pid: number;
    readonly environment: Readonly<Record<string, string>>;
}

describe("the launcher that builds share", () => {
    let prepared: Prepared;
    let stack: TemporaryStack;
    const cleanUp: (() => unknown)[] = [];

    before(async () => {
        prepared = await prepare();
        cleanUp.push(() => prepared.repository.remove());
        stack = new TemporaryStack("shared", {
            source: prepared.repository.path,
            image: prepared.image,
            exporterImage: prepared.exporterImage,
            // Long enough for what is done meanwhile; each build is there for one case.
            command: ["sh", "-c", countingBuild(60)],
            cpuRequest: "10m",
        });
        cleanUp.unshift(async () => stack.remove());
    });

    after(async () => {
        for (const step of cleanUp) {
            await step();
        }
    });

    it("is one for all, may die, and leaves each build to its own end", async () => {
        const tags = ["killed", "interrupted", "left", "right"];
        tags.forEach((tag) => prepared.repository.git("tag", tag));
        stack.configure({ buildTags: tags });
        let ended: Finished | undefined;
        const up = stack.ke1(["up", "--yes"]).then((finished) => (ended = finished));

        const clients = await until(() => {
            assert.equal(ended, undefined, ended?.stderr);
            const found = processes("await");
            return found.length === tags.length ? found : undefined;
        });
        const launchers = await until(() => some(processes("await-launcher")));
        assert.equal(launchers.length, 1);
        const [first] = launchers;
        assert.deepEqual(namesOf(first, /^KE1_(BUILD_TAG|JOBS|CONTAINER_URL)$/), [], "it is no build's own");
        await logOf(tags);

        kill("SIGKILL", first);
        const second = await until(() => some(processes("await-launcher").filter(({ pid }) => pid !== first?.pid)));
        assert.equal(second.length, 1);
        assert.equal(processes("await").length, tags.length, "no client has ended for it");

        const client = (tag: string) => clients.find(({ environment }) => environment["KE1_BUILD_TAG"] === tag);
        kill("SIGKILL", client("killed"));
        kill("SIGTERM", client("interrupted"));
        await until(async () => ((await jobOf("interrupted")).spec?.suspend === true ? true : undefined));

        await up;
        assert.equal(ended?.code, 1, "two of them have not ended well");
        for (const tag of ["left", "right"]) {
            assert.match(ended.stderr, new RegExp(`${tag}-await: Succeeded: 1 artifact`), ended.stderr);
        }
        assert.match(ended.stderr, /interrupted-await: Cancelled: `ke1 up` starts the build again/);
        assert.equal((await jobOf("killed")).spec?.suspend, false, "whose client is killed, goes on");
        await until(async () => some((await stack.blobs("killed/")).filter((name) => name.endsWith("manifest.json"))));
        await until(() => (processes("await-launcher").length === 0 ? true : undefined));
    });

    /** The processes of this stack's that run a command of `ke1`. */
    function processes(command: string): readonly Running[] {
        const own = stack.environment["PULUMI_BACKEND_URL"];
        return fs
            .readdirSync("/proc")
            .filter((name) => /^\d+$/.test(name))
            .flatMap((pid): Running[] => {
                try {
                    const [, program, ...args] = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
                    if (!program?.endsWith("/dist/ke1.js") || args[0] !== command) {
                        return [];
                    }
                    const variables = fs.readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").filter(Boolean);
                    const environment = Object.fromEntries(
                        variables.map((text) => [text.split("=", 1)[0] ?? "", text.slice(text.indexOf("=") + 1)]),
                    );
                    return environment["PULUMI_BACKEND_URL"] === own ? [{ pid: Number(pid), environment }] : [];
                } catch {
                    return []; // It has ended.
                }
            });
    }

    async function jobOf(tag: string) {
        const { items } = await api().batch.listNamespacedJob({
            namespace: stack.namespace,
            labelSelector: `ke1.dev/build-tag=${tag}`,
        });
        return items[0] ?? assert.fail(`no Job for ${tag}`);
    }

    async function logOf(tags: readonly string[]): Promise<void> {
        for (const tag of tags) {
            await until(async () => some((await stack.blobs(`${tag}/logs/`)).slice()));
        }
    }
});

function kill(signal: NodeJS.Signals, running: Running | undefined): void {
    assert.ok(running);
    process.kill(running.pid, signal);
}

function namesOf(running: Running | undefined, pattern: RegExp): readonly string[] {
    return Object.keys(running?.environment ?? {}).filter((name) => pattern.test(name));
}

function some<T>(found: readonly T[]): readonly T[] | undefined {
    return found.length > 0 ? found : undefined;
}

async function until<T>(look: () => T | undefined | Promise<T | undefined>, seconds = 120): Promise<T> {
    const end = Date.now() + seconds * 1000;
    for (;;) {
        const found = await look();
        if (found !== undefined) {
            return found;
        }
        assert.ok(Date.now() < end, `not within ${seconds} s`);
        await sleep(100);
    }
}
