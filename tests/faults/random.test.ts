import * as assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import type { Outcome } from "../../contract/outcome";
import { isSuccess, outcomes } from "../../contract/outcome";
import type { Row } from "../helpers/faults";
import { FaultedBuild, isBuilding } from "../helpers/faults";
import { killContainer, restorePlatform, signalDaemon } from "../helpers/nodeFaults";
import type { Prepared } from "../helpers/prepared";
import { api, countingBuild, prepare } from "../helpers/prepared";
import { printTable } from "../helpers/table";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const count = Number(process.env["N"] ?? 6);
const atOnce = 4;
const retries = 3;

/** What can befall one build, and what can befall all of them. */
const ofBuilds = ["evict", "kill exporter", "kill build", "kill launcher", "cancel"] as const;
const ofAll = ["stop store", "restart store", "kill API server", "kill kubelet"] as const;
type Fault = (typeof ofBuilds)[number] | (typeof ofAll)[number];

/** All of it follows from the seed, but for when exactly each thing comes to happen. */
interface Plan {
    readonly lines: number;
    readonly bytes: number;
    readonly exitCode: number;
    /** Each at so many seconds after the build has begun. */
    readonly faults: readonly { readonly fault: (typeof ofBuilds)[number]; readonly after: number }[];
}

/** https://github.com/cprosche/mulberry32: 32 bits of state are enough for a test. */
function randomNumbers(start: number): () => number {
    let state = start >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
}

describe(`${count} builds and random faults, SEED=${seed}`, () => {
    it("have one outcome each, which is told; their logs and artifacts are whole", async () => {
        const random = randomNumbers(seed);
        const below = (limit: number) => Math.floor(random() * limit);
        const plans = Array.from({ length: count }, (): Plan => {
            const lines = 10 + below(30);
            const faults = Array.from({ length: [0, 1, 1, 1, 2, 2][below(6)] ?? 1 }, () => ({
                fault: ofBuilds[below(ofBuilds.length)] ?? "evict",
                after: random() * lines * 0.25,
            }));
            const exitCode = random() < 0.75 ? 0 : 1 + below(9);
            return { lines, bytes: below(3_000_000), exitCode, faults: faults.sort((a, b) => a.after - b.after) };
        });
        const common = Array.from({ length: Math.ceil(count / 4) }, () => ({
            fault: ofAll[below(ofAll.length)] ?? "stop store",
            after: 5 + random() * 10,
        }));
        const happened = new Map<Fault, number>();
        const did = (fault: Fault) => happened.set(fault, (happened.get(fault) ?? 0) + 1);

        const prepared = await prepare();
        const builds: { readonly plan: Plan; readonly build: FaultedBuild; outcome: Outcome }[] = [];
        const stage = { isOver: false };
        try {
            const waiting = [...plans];
            const work = async () => {
                for (let plan = waiting.shift(); plan; plan = waiting.shift()) {
                    const build = start(prepared, plan);
                    const entry = { plan, build, outcome: "Cancelled" as Outcome };
                    builds.push(entry);
                    entry.outcome = await run(build, plan, did);
                }
            };
            const everybody = (async () => {
                for (const { fault, after } of common) {
                    await sleep(after * 1000);
                    if (!stage.isOver) {
                        did(fault);
                        await strike(fault).finally(restorePlatform);
                    }
                }
            })();
            await Promise.all(Array.from({ length: atOnce }, work)).finally(() => (stage.isOver = true));
            await everybody;

            const rows = new Map<number, Row>();
            const unchecked = [...builds.entries()];
            const check = async () => {
                for (let next = unchecked.shift(); next; next = unchecked.shift()) {
                    const [index, { plan, build, outcome }] = next;
                    const what = plan.faults.map(({ fault, after }) => `${fault} at ${after.toFixed(1)} s`).join(", ");
                    const row = await build.endsAs(`${index + 1}: exit ${plan.exitCode}; ${what || "nothing"}`, {
                        outcome,
                        told: toldAs(outcome),
                        // Of a build that ended by itself, all is there.
                        ...(build.shown.includes(`ended with exit code ${plan.exitCode}`) ? { lines: plan.lines } : {}),
                    });
                    assert.ok(allowed(plan).includes(outcome), `${row.name} ended as ${outcome}: ${build.shown}`);
                    rows.set(index, row);
                }
            };
            await Promise.all(Array.from({ length: atOnce }, check));
            report(
                [...rows.entries()].sort(([a], [b]) => a - b).map(([, row]) => row),
                happened,
            );
        } catch (error) {
            process.stdout.write(`SEED=${seed} N=${count} makes the same builds and faults again\n`);
            throw error;
        } finally {
            stage.isOver = true;
            await restorePlatform();
            await Promise.all(builds.map(({ build }) => build.remove()));
            prepared.repository.remove();
        }
    }).timeout(600_000);
});

function start(prepared: Prepared, { lines, bytes, exitCode }: Plan): FaultedBuild {
    const end = `mkdir -p bin && echo hello > bin/greeting && head -c ${bytes} /dev/urandom > bin/noise; exit ${exitCode}`;
    const build = new FaultedBuild(prepared, lines, {
        command: ["sh", "-c", countingBuild(lines, 0.25, end)],
        retries,
    });
    build.up();
    return build;
}

/** Lets the build's faults happen, and runs `up` until it has told an outcome. */
async function run(build: FaultedBuild, plan: Plan, did: (fault: Fault) => void): Promise<Outcome> {
    const launcher = { isKilled: false };
    const faults = (async () => {
        await build.pod(isBuilding).catch(() => undefined);
        const begun = Date.now();
        for (const { fault, after } of plan.faults) {
            await sleep(Math.max(0, begun + after * 1000 - Date.now()));
            launcher.isKilled ||= fault === "kill launcher";
            if (await inflict(build, fault)) {
                did(fault);
                build.fault();
            }
        }
    })();
    for (let round = 0; ; round++) {
        await build.ended();
        const told = outcomesTold(build);
        if (told.length > 0) {
            await faults;
            assert.equal(new Set(told).size, 1, `one outcome: ${build.shown}`);
            return told[0] ?? "Cancelled";
        }
        // It was killed, or the platform went away before there was a build: whoever launched it does so again.
        assert.ok(round < 5, `no outcome was told: ${build.shown}`);
        await sleep(launcher.isKilled ? 500 : 3000);
        build.up();
    }
}

function outcomesTold(build: FaultedBuild): readonly Outcome[] {
    const told = outcomes.filter((outcome) => toldAs(outcome).test(build.shown));
    // A launcher that was killed after the build's end is followed by one that finds it built.
    return told.map((outcome) => (outcome === "AlreadyBuilt" ? "Succeeded" : outcome));
}

function toldAs(outcome: Outcome): RegExp {
    const words = outcome === "Succeeded" ? "(?:Succeeded|AlreadyBuilt)" : outcome;
    return new RegExp(`-await: ${words}: `);
}

/** @returns whether there was anything to do it to */
async function inflict(build: FaultedBuild, fault: (typeof ofBuilds)[number]): Promise<boolean> {
    if (fault === "kill launcher") {
        if (outcomesTold(build).length > 0) {
            return false;
        }
        await build.kill();
        return true;
    }
    if (fault === "cancel") {
        return (await build.stack.ke1(["cancel", build.prepared.buildTag])).code === 0;
    }
    const pod = await build.pod(isBuilding, 1).catch(() => undefined);
    if (!pod) {
        return false;
    }
    const at = { name: pod.metadata?.name ?? "", namespace: build.stack.namespace };
    switch (fault) {
        case "evict":
            return api()
                .core.createNamespacedPodEviction({ ...at, body: { metadata: at } })
                .then(
                    () => true,
                    () => false,
                );
        case "kill build":
            return killContainer(pod, "build") > 0;
        case "kill exporter":
            return killContainer(pod, "exporter") > 0;
    }
}

async function strike(fault: (typeof ofAll)[number]): Promise<void> {
    switch (fault) {
        case "stop store":
            signalDaemon("azurite", "SIGSTOP");
            await sleep(3000).finally(() => signalDaemon("azurite", "SIGCONT"));
            break;
        case "restart store":
            // Asked to end, it keeps what it has; killed, the emulator would lose the last seconds, as Azure does not.
            signalDaemon("azurite", "SIGTERM");
            await sleep(1000);
            break;
        case "kill API server":
            signalDaemon("kube-apiserver", "SIGKILL");
            break;
        case "kill kubelet":
            signalDaemon("kubelet", "SIGKILL");
            await sleep(3000);
            break;
    }
}

/** What a build may end as, after what befell it. */
function allowed({ exitCode, faults }: Plan): readonly Outcome[] {
    const had = new Set(faults.map(({ fault }) => fault));
    return [
        exitCode === 0 ? "Succeeded" : "BuildFailed",
        ...(had.has("kill build") ? (["BuildFailed"] as const) : []),
        ...(had.has("cancel") ? (["Cancelled"] as const) : []),
    ];
}

function report(rows: readonly Row[], happened: ReadonlyMap<Fault, number>): void {
    const faults = [...happened].map(([fault, times]) => `${fault} ${times}`).join(", ");
    const ended = outcomes.map((outcome) => [outcome, rows.filter((row) => row.outcome === outcome).length] as const);
    const counted = ended.filter(([, times]) => times > 0).map(([outcome, times]) => `${outcome} ${times}`);
    const told = rows
        .filter((row) => !isSuccess(row.outcome as Outcome))
        .map((row) => row.ended)
        .sort((a, b) => a - b);
    process.stdout.write(
        `\nSEED=${seed} N=${rows.length}\nfaults: ${faults || "none"}\noutcomes: ${counted.join(", ")}\n`,
    );
    if (told.length > 0) {
        const median = told[Math.floor(told.length / 2)] ?? 0;
        process.stdout.write(
            `failures told after: median ${median.toFixed(1)} s, at most ${told.at(-1)?.toFixed(1)} s\n`,
        );
    }
    printTable("random", rows);
}
