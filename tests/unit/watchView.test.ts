import * as assert from "node:assert/strict";

import { lineOf } from "../../cli/watchView";

const place = { repository: "/home/me/ke-1", name: "ke-1", branch: "main" };
const commit = "c86981dfaf8751f7fb92e61ad7a4a2bcd4a9e0da";
const older = "4ae5c63a8751f7fb92e61ad7a4a2bcd4a9e0da00";

describe("what `ke1 watch` prints", () => {
    it("is a line of each thing that happens", () => {
        const lines = [
            lineOf({ ...place, branch: undefined, event: "watching", interval: 5, branches: ["", "release/*"] }),
            lineOf({ ...place, event: "known", commit, build: "016d38636186", state: "failed" }),
            lineOf({ ...place, event: "commit", commit, subject: "Add it", build: "b", lane: "l", rewritten: true }),
            lineOf({ ...place, event: "skipped", commits: Array.from({ length: 7 }, () => older), for: commit }),
            lineOf({ ...place, event: "unreachable", problem: "could not connect" }),
        ];
        assert.deepEqual(lines, [
            "ke-1: watching the default branch, release/* of /home/me/ke-1, every 5 s",
            "ke-1^main c86981d: built before (failed); waiting for a new commit",
            "ke-1^main c86981d: new, the branch was rewritten: Add it (build b)",
            "ke-1^main: not built, as c86981d is newer: 4ae5c63, 4ae5c63, 4ae5c63, 4ae5c63, 4ae5c63 and 2 before",
            "ke-1^main: does not answer: could not connect; trying on",
        ]);
    });

    it("says how a build ended, and where to look further", () => {
        const end = { ...place, event: "ended", commit, build: "b", buildTag: "c86981d", artifacts: 1 } as const;
        assert.equal(
            lineOf({ ...end, state: "succeeded", outcome: "AlreadyBuilt", seconds: 6.94 }),
            "ke-1^main c86981d: succeeded (AlreadyBuilt) in 6.9 s; 1 artifact: ke1 artifacts c86981d",
        );
        assert.equal(
            lineOf({
                ...end,
                state: "failed",
                outcome: "BuildFailed",
                message: "exit code 2",
                seconds: 75,
                kept: "ns",
            }),
            "ke-1^main c86981d: failed after 75 s: BuildFailed: exit code 2\n" +
                "  its log: ke1 logs c86981d\n" +
                "  kept until the branch's next commit: kubectl --namespace ns get pods",
        );
    });
});
