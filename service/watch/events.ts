import type { BuildState } from "../build";

/** Which ref of which repository an event is about. */
export interface WatchedPlace {
    readonly repository: string;
    /** What people call the repository. */
    readonly name: string;
    /** `main`, `tags/v1`; absent where it is the whole repository. */
    readonly branch?: string;
}

/** What a watcher tells, one at a time; `ke1 watch --json` prints them as they are, with the time. */
export type WatchEvent = WatchedPlace &
    (
        | { readonly event: "watching"; readonly interval: number; readonly branches: readonly string[] }
        /** The branch's commit is the one that was built last. */
        | { readonly event: "known"; readonly commit: string; readonly state?: BuildState; readonly build?: string }
        | {
              readonly event: "commit";
              readonly commit: string;
              readonly subject: string;
              readonly build: string;
              readonly lane: string;
              /** The branch was rewritten: what was built before is not in it. */
              readonly rewritten: boolean;
          }
        /** Commits that are not built, because there is a newer one. */
        | { readonly event: "skipped"; readonly commits: readonly string[]; readonly for: string }
        | { readonly event: "started"; readonly commit: string; readonly build: string }
        | {
              readonly event: "ended";
              readonly commit: string;
              readonly build: string;
              readonly buildTag?: string;
              readonly state: BuildState;
              readonly outcome?: string;
              readonly message?: string;
              readonly seconds: number;
              readonly artifacts: number;
              /** Where the stack and the pod of a failed one are kept. */
              readonly kept?: string;
          }
        | { readonly event: "gone"; readonly lane: string }
        | { readonly event: "nothing"; readonly problem: string }
        | { readonly event: "unreachable"; readonly problem: string }
        | { readonly event: "reachable" }
        | { readonly event: "webhook"; readonly delivery: string }
    );
