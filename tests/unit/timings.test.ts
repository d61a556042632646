import * as assert from "node:assert/strict";

import type { V1Pod } from "@kubernetes/client-node";

import { phaseDurations } from "../../contract/timings";
import { EventTimes, instantOf, timed } from "../../launcher/eventTimes";
import { goSeconds, pullsOf } from "../../launcher/pulls";
import type { TimelineEvidence } from "../../launcher/timeline";
import { timelineOf } from "../../launcher/timeline";
import * as build from "../helpers/timedBuild";

const at = (time: string) => new Date(`2026-11-21T22:16:${time}Z`).getTime();

const evidence: TimelineEvidence = {
    ...{ buildTag: "5994935", outcome: "Succeeded", attempt: 1 },
    ...{ job: build.job, pod: build.pod, events: timed(build.events), finished: build.finished },
    seenAt: at("06.100"),
};

const marksOf = (changes: Partial<TimelineEvidence>) =>
    new Map(timelineOf({ ...evidence, ...changes }).marks.map((mark) => [mark.phase, mark]));

const withStatus = (pod: V1Pod, spec: object, status: object = {}): V1Pod =>
    build.changed(pod, {
        spec: Object.assign(structuredClone(pod.spec ?? {}), spec) as V1Pod["spec"],
        status: Object.assign(structuredClone(pod.status ?? {}), status),
    });

describe("when something befell a build, by Kubernetes' events", () => {
    it("is in the event's name, to the nanosecond, where it agrees with what the event says in seconds", () => {
        const inName = instantOf(build.pulledBuild);
        assert.deepEqual(inName, { at: at("03.267") + 0.437, exact: true });
        const other = build.changed(build.pulledBuild, { firstTimestamp: new Date("2026-11-21T22:17:40Z") });
        assert.deepEqual(instantOf(other), { at: new Date("2026-11-21T22:17:40Z").getTime(), exact: false });
        const unnamed = build.changed(build.pulledBuild, {
            metadata: { name: "0b1f8f0c-6d3c-4a52-9f38-1f4bd9a0e1aa" },
        });
        assert.deepEqual(instantOf(unnamed), { at: at("03.000"), exact: false });
    });

    it("is its eventTime, where it has one", () => {
        const { at: found, exact } = instantOf(build.scheduled) ?? {};
        assert.deepEqual([found, exact], [at("01.889"), true]);
    });

    it("is read once for all that ask while a list is under way, and an error is no event", async () => {
        const asked: (string | undefined)[] = [];
        let fails = false;
        const core = {
            listNamespacedEvent: async ({ fieldSelector }: { fieldSelector?: string }) => {
                asked.push(fieldSelector);
                await new Promise((resolve) => setTimeout(resolve, 5));
                if (fails) {
                    throw new Error("forbidden");
                }
                return { items: [...build.events] };
            },
        };
        const reader = new EventTimes(core, "builds");
        const other = ["a", "b", "c", "d", "e"].map((name) => reader.of([name]));
        const [own, ...none] = await Promise.all([reader.of([build.podName]), ...other]);
        assert.equal(own.length, 8, "and not the Job's");
        assert.deepEqual(
            none.map(({ length }) => length),
            [0, 0, 0, 0, 0],
        );
        // The first to ask is alone; all that came after are one list.
        assert.deepEqual(asked, ["involvedObject.name=a", "type=Normal"]);
        fails = true;
        assert.deepEqual(await reader.of([build.podName]), []);
    });
});

describe("events of very many builds", () => {
    it("are not read again at once", async () => {
        const lists: number[] = [];
        const core = {
            listNamespacedEvent: async () => {
                await new Promise((resolve) => setTimeout(resolve, 10));
                lists.push(performance.now());
                return { items: new Array<typeof build.pulledBuild>(501).fill(build.pulledBuild) };
            },
        };
        const reader = new EventTimes(core, "builds");
        await reader.of([build.podName]);
        await reader.of([build.podName]);
        const [first = 0, second = 0] = lists;
        assert.ok(second - first >= 10 * 10, `${second - first} ms`);
    });
});

describe("the timeline of a build", () => {
    it("is what scheduler, kubelet, exporter and launcher have written down", () => {
        const { marks, created } = timelineOf(evidence);
        assert.equal(created, at("01.000"));
        assert.deepEqual(
            marks.map(({ phase, at: end, exact, from }) => [phase, Math.floor(end), exact, from]),
            [
                ["scheduled", at("01.889"), true, "the scheduler's event"],
                ["pulled", at("03.514"), true, "kubelet's events"],
                ["started", at("03.827"), true, "the exporter"],
                ["built", at("05.889"), true, "the exporter"],
                ["exported", at("05.969"), true, "the exporter"],
                ["seen", at("06.100"), true, "the launcher"],
            ],
        );
        assert.equal(marks[1]?.note, "build 0.4 s (139 MB), exporter there already");
    });

    it("is durations in seconds, and says which are known to a second only", () => {
        assert.deepEqual(phaseDurations(timelineOf(evidence)), {
            phases: { scheduled: 0.889, pulled: 1.625, started: 0.313, built: 2.062, exported: 0.08, seen: 0.131 },
            inexact: ["scheduled"],
        });
        assert.deepEqual(phaseDurations({ buildTag: "a", outcome: "AlreadyBuilt", marks: [] }), {});
    });

    it("is coarser without the events, and says so", () => {
        const marks = marksOf({ events: [] });
        const pulled = marks.get("pulled");
        assert.deepEqual([pulled?.at, pulled?.exact, pulled?.from], [at("03.000"), false, "the containers' starts"]);
        assert.equal(marks.get("scheduled")?.exact, false);
        assert.equal(marks.get("built")?.exact, true);
        const { inexact } = phaseDurations(timelineOf({ ...evidence, events: [] }));
        assert.deepEqual(inexact, ["scheduled", "pulled", "started"], "what begins at a coarse time is coarse too");
    });

    it("does not take one container's image for that of all", () => {
        const events = timed(build.events.filter((event) => event !== build.pulledExporter));
        assert.equal(marksOf({ events }).get("pulled")?.exact, false);
    });

    it("takes no time back, whatever the clocks say", () => {
        const fast = { ...build.finished, finishedAt: "2026-11-21T22:16:03.000Z" };
        const timeline = timelineOf({ ...evidence, finished: fast, seenAt: at("02.000") });
        const { phases, inexact } = phaseDurations(timeline);
        assert.deepEqual([phases?.started, phases?.built, phases?.seen], [0, 0, 0]);
        assert.deepEqual(inexact, ["scheduled", "started", "built", "exported", "seen"]);
    });

    it("says when a build waited for its turn, and what earlier attempts took", () => {
        const waiting = { type: "Suspended", status: "False" };
        const suspended = build.changed(build.job, { status: { conditions: [waiting] } });
        const queued = marksOf({ job: suspended }).get("queued");
        assert.deepEqual([Math.floor(queued?.at ?? 0), queued?.exact], [at("01.878"), true]);
        assert.equal(marksOf({}).has("queued"), false, "not where it had a pod at once");
        const old = build.changed(build.job, { metadata: { creationTimestamp: new Date("2026-11-21T22:10:01Z") } });
        assert.equal(marksOf({ job: old }).has("queued"), true, "a quota suspends no Job");
        const retried = marksOf({ job: old, attempt: 2 });
        assert.deepEqual([retried.has("queued"), retried.get("retried")?.note], [false, "this is attempt 2"]);
    });

    it("has the init containers' end, and none for sidecars", () => {
        const inits = withStatus(build.pod, { initContainers: [{ name: "source" }] });
        assert.equal(Math.floor(marksOf({ pod: inits }).get("initialized")?.at ?? 0), at("02.890"));
        const coarse = marksOf({ pod: inits, events: [] }).get("initialized");
        assert.deepEqual([coarse?.at, coarse?.exact], [at("01.000"), false]);
        const sidecar = withStatus(build.pod, { initContainers: [{ name: "reports", restartPolicy: "Always" }] });
        assert.equal(marksOf({ pod: sidecar }).has("initialized"), false);
    });

    it("ends where the build did", () => {
        const waiting = { containerStatuses: [{ name: "build", state: { waiting: { reason: "ImagePullBackOff" } } }] };
        const events = timed([build.scheduled]);
        const pod = withStatus(build.pod, {}, waiting);
        const without = { finished: undefined, attempt: undefined, outcome: "ImagePullFailed" };
        assert.deepEqual([...marksOf({ pod, events, ...without }).keys()], ["scheduled", "seen"]);
        const unscheduled = withStatus(build.pod, { nodeName: undefined }, { conditions: [], containerStatuses: [] });
        assert.deepEqual([...marksOf({ pod: unscheduled, events: [], ...without }).keys()], ["seen"]);
        assert.deepEqual([...marksOf({ pod: undefined, events: [], ...without }).keys()], ["seen"]);
        const never = { ...build.finished, durations: { buildSeconds: 0, exportSeconds: 0 } };
        assert.equal(marksOf({ finished: never }).has("built"), false, "a build that was never let go");
    });
});

describe("what kubelet says of images", () => {
    it("is a few words", () => {
        assert.equal(pullsOf([]), undefined);
        const all = timed(build.events);
        assert.equal(pullsOf(all), "build 0.4 s (139 MB), exporter there already");
        assert.equal(pullsOf(timed([build.pulledExporter])), "all were there already");
        const waited = build.changed(build.pulledBuild, {
            message: 'Successfully pulled image "x" in 1m2.5s (2m3s including waiting).',
        });
        assert.equal(pullsOf(timed([waited])), "build 123.0 s", "with its wait for other pulls");
    });

    it("has durations as Go writes them", () => {
        const texts = ["376ms", "1.2s", "1m2.5s", "1h0m0s", "15ms", "", "3", "1s1"];
        assert.deepEqual(texts.map(goSeconds), [0.376, 1.2, 62.5, 3600, 0.015, undefined, undefined, undefined]);
    });
});
