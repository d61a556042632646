import * as assert from "node:assert/strict";

import type { V1Job, V1Pod } from "@kubernetes/client-node";
import { RestError } from "@azure/storage-blob";

import { mayPass, Patience } from "../../launcher/patience";
import { NotYetAllowed } from "../../launcher/store";
import { diskExceeded } from "../../launcher/podStatus";
import { Watchdog } from "../../launcher/watchdog";

const limits = {
    podLimitSeconds: 10,
    scheduleLimitSeconds: 20,
    pullLimitSeconds: 30,
    createLimitSeconds: 40,
    terminateLimitSeconds: 50,
};
const job: V1Job = { spec: { template: {} }, status: { active: 1 } };

function podOf(status: object, more: object = {}): V1Pod {
    return {
        metadata: { name: "p", uid: "1", ...more },
        spec: { containers: [], nodeName: "n" },
        status: status,
    };
}

/** Looks each second, as the launcher does more often, and says when the watchdog barked first. */
function secondsUntilStuck(pod: V1Pod | undefined, of: V1Job = job): { seconds: number; kind: string } | undefined {
    const watchdog = new Watchdog(limits);
    const start = Date.now();
    for (let seconds = 0; seconds < 120; seconds++) {
        const stuck = watchdog.look(of, pod, start + seconds * 1000);
        if (stuck) {
            return { seconds, kind: stuck.kind };
        }
    }
    return undefined;
}

describe("a pod that gets nowhere", () => {
    const waiting = (reason: string) =>
        podOf({ containerStatuses: [{ name: "build", state: { waiting: { reason } } }] });

    it("has a limit for each way to do so", () => {
        assert.deepEqual(secondsUntilStuck(undefined), { seconds: 10, kind: "pod" });
        const unscheduled = podOf({ phase: "Pending" });
        unscheduled.spec = { containers: [] };
        assert.deepEqual(secondsUntilStuck(unscheduled), { seconds: 20, kind: "schedule" });
        assert.deepEqual(secondsUntilStuck(waiting("ImagePullBackOff")), { seconds: 30, kind: "pull" });
        assert.deepEqual(secondsUntilStuck(waiting("ContainerCreating")), { seconds: 40, kind: "create" });
        const ending = podOf({ phase: "Running" }, { deletionTimestamp: new Date(Date.now() - 1000) });
        assert.deepEqual(secondsUntilStuck(ending), { seconds: 50, kind: "terminate" });
    });
    it("is not one that runs, has ended, or waits because it was told to", () => {
        const running = podOf({ containerStatuses: [{ name: "build", state: { running: {} } }] });
        assert.equal(secondsUntilStuck(running), undefined);
        assert.equal(secondsUntilStuck(podOf({ phase: "Failed" })), undefined);
        assert.equal(secondsUntilStuck(undefined, { spec: { template: {}, suspend: true } }), undefined);
        const failed = { status: { conditions: [{ type: "Failed", status: "True" }] } };
        assert.equal(secondsUntilStuck(undefined, failed), undefined);
    });
    it("starts anew when it gets on, and with each pod", () => {
        const watchdog = new Watchdog(limits);
        assert.equal(watchdog.look(job, waiting("ErrImagePull"), 0), undefined);
        assert.equal(watchdog.look(job, waiting("ContainerCreating"), 29_000), undefined);
        assert.equal(watchdog.look(job, waiting("ErrImagePull"), 31_000), undefined);
        const other = waiting("ErrImagePull");
        other.metadata = { uid: "2" };
        assert.equal(watchdog.look(job, other, 60_000), undefined);
        assert.equal(watchdog.look(job, other, 91_000)?.kind, "pull");
    });
});

describe("a pod that was evicted", () => {
    const evicted = (message: string) => podOf({ phase: "Failed", reason: "Evicted", message });

    it("for the disk that it used itself is the build's doing; for want of the node's it is not", () => {
        const own = 'Usage of EmptyDir volume "shared" exceeds the limit "10Mi". ';
        assert.equal(diskExceeded(evicted(own)), own);
        assert.ok(
            diskExceeded(evicted("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.")),
        );
        assert.equal(diskExceeded(evicted("The node was low on resource: ephemeral-storage.")), undefined);
        assert.equal(diskExceeded(podOf({ phase: "Running" })), undefined);
    });
});

describe("a cluster or a store that does not answer", () => {
    const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });

    it("may be back in a moment; one that refuses will not", () => {
        assert.equal(mayPass(refused), true);
        assert.equal(mayPass(Object.assign(new Error("fetch failed"), { cause: refused })), true);
        assert.equal(mayPass(new RestError("no", { code: "REQUEST_SEND_ERROR" })), true);
        // As the SDK has it of Node.js.
        assert.equal(mayPass(new RestError("no", { code: "ECONNREFUSED" })), true);
        assert.equal(mayPass(new RestError("busy", { statusCode: 503 })), true);
        assert.equal(mayPass(Object.assign(new Error("apiserver"), { code: 503 })), true);
        assert.equal(mayPass(new RestError("no", { statusCode: 403 })), false);
        assert.equal(mayPass(Object.assign(new Error("forbidden"), { code: 403 })), false);
        const starting = 'HTTP-Code: 403\nBody: "jobs.batch is forbidden: not yet ready to handle request"';
        assert.equal(mayPass(Object.assign(new Error(starting), { code: 403 })), true);
        assert.equal(mayPass(new TypeError("a defect")), false);
    });
    it("is said once, and so is that it is back", async () => {
        const said: string[] = [];
        const patience = new Patience((text) => said.push(text));
        const answers = [refused, refused, "here"];
        const ask = () => {
            const answer = answers.shift();
            return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
        };
        assert.equal(await patience.until(new AbortController().signal, ask), "here");
        assert.deepEqual(said, ["the cluster does not answer (connect): trying again", "there it is again"]);
    }).timeout(5000);
    it("may only not know yet that this login has the role", async () => {
        const said: string[] = [];
        const patience = new Patience((text) => said.push(text));
        const answers = [new NotYetAllowed("your login may not read it"), "here"];
        const ask = () => {
            const answer = answers.shift();
            return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
        };
        assert.equal(await patience.until(new AbortController().signal, ask), "here");
        assert.deepEqual(said, ["your login may not read it: waiting", "there it is again"]);
    }).timeout(5000);
    it("is an error at once when it cannot pass", async () => {
        const patience = new Patience(() => undefined);
        const ask = () => Promise.reject(Object.assign(new Error("forbidden"), { code: 403 }));
        await assert.rejects(
            patience.once(ask, () => undefined),
            /forbidden/,
        );
        assert.equal(await patience.once(ask, () => "known"), "known");
    });
});
