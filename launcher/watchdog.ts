import type { V1Job, V1Pod } from "@kubernetes/client-node";

import type { Outcome } from "../contract/outcome";
import type { Watchdogs } from "../contract/watchdogs";
import { jobEnd, phaseOf } from "./podStatus";

/** A pod, or the want of one, that gets nowhere. */
export type Stuck =
    | {
          readonly kind: "pod" | "schedule" | "pull" | "create";
          readonly outcome: Outcome;
          /** One line: what is the matter, and for how long. */
          readonly message: string;
      }
    | { readonly kind: "terminate"; readonly message: string };

type State = Stuck["kind"] | "moving";

/** Says when a build has got nowhere for too long: each way not to get anywhere has a limit of its own. */
export class Watchdog {
    private state: State = "moving";
    private pod: string | undefined;
    private since = 0;

    public constructor(private readonly limits: Watchdogs) {}

    /** @param now milliseconds since 1970 */
    public look(job: V1Job | undefined, pod: V1Pod | undefined, now: number): Stuck | undefined {
        const state = stateOf(job, pod, now);
        if (state !== this.state || pod?.metadata?.uid !== this.pod) {
            this.state = state;
            this.pod = pod?.metadata?.uid;
            this.since = now;
        }
        return this.stuck((now - this.since) / 1000, pod);
    }

    private stuck(seconds: number, pod: V1Pod | undefined): Stuck | undefined {
        const phase = pod && phaseOf(pod);
        const detail = phase && "detail" in phase && phase.detail !== "" ? `: ${phase.detail}` : "";
        const whole = Math.round(seconds);
        switch (this.state) {
            case "moving":
                return undefined;
            case "pod":
                return seconds < this.limits.podLimitSeconds
                    ? undefined
                    : { kind: "pod", outcome: "Unschedulable", message: `the Job has got no pod in ${whole} s` };
            case "schedule":
                return seconds < this.limits.scheduleLimitSeconds
                    ? undefined
                    : { kind: "schedule", outcome: "Unschedulable", message: `no node for ${whole} s${detail}` };
            case "pull":
                return seconds < this.limits.pullLimitSeconds
                    ? undefined
                    : { kind: "pull", outcome: "ImagePullFailed", message: detail.replace(/^: /, "") };
            case "create": {
                const node = pod?.spec?.nodeName ?? "";
                const message = `the containers were not made in ${whole} s on the node ${node}`;
                return seconds < this.limits.createLimitSeconds
                    ? undefined
                    : { kind: "create", outcome: "Unschedulable", message };
            }
            case "terminate": {
                const name = pod?.metadata?.name ?? "";
                return seconds < this.limits.terminateLimitSeconds
                    ? undefined
                    : { kind: "terminate", message: `the pod ${name} was to end ${whole} s ago, and has not` };
            }
        }
    }
}

function stateOf(job: V1Job | undefined, pod: V1Pod | undefined, now: number): State {
    if (!job || jobEnd(job)) {
        return "moving";
    }
    if (!pod) {
        return job.spec?.suspend ? "moving" : "pod";
    }
    // The time to end in is over at the deletion's timestamp.
    const deletion = pod.metadata?.deletionTimestamp;
    if (deletion && phaseOf(pod).name !== "ended") {
        return new Date(deletion).getTime() < now ? "terminate" : "moving";
    }
    if (job.spec?.suspend) {
        return "moving";
    }
    switch (phaseOf(pod).name) {
        case "unscheduled":
            return "schedule";
        case "pullFailing":
            return "pull";
        case "preparing":
            return "create";
        // However long others take.
        case "waiting":
        case "initializing":
        case "fetching":
        case "running":
        case "ended":
            return "moving";
    }
}
