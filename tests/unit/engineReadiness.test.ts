import * as assert from "node:assert/strict";

import { readinessOf } from "../../engine/providers/kubernetes/await";

describe("engine: when a Job is ready", () => {
    const job = (status: {
        readonly conditions?: { readonly type: string; readonly reason?: string }[];
        succeeded?: number;
    }) =>
        readinessOf({
            apiVersion: "batch/v1",
            kind: "Job",
            status: { ...status, conditions: status.conditions?.map((each) => ({ ...each, status: "True" })) ?? [] },
        });

    it("is with its terminal condition: the one before comes when its pods are not counted yet", () => {
        assert.equal(job({}).ready, false);
        assert.equal(job({ conditions: [{ type: "SuccessCriteriaMet" }] }).ready, false);
        const ended = [{ type: "SuccessCriteriaMet" }, { type: "Complete" }];
        assert.equal(job({ conditions: ended, succeeded: 1 }).ready, true);
    });

    it("is never when it has failed, for its reason; not yet when it is about to", () => {
        const about = { type: "FailureTarget", reason: "BackoffLimitExceeded" };
        assert.deepEqual(job({ conditions: [about] }), {
            ready: false,
            waitingFor: "the Job is not complete",
            failed: false,
        });
        assert.deepEqual(job({ conditions: [about, { type: "Failed", reason: "BackoffLimitExceeded" }] }), {
            ready: false,
            waitingFor: "BackoffLimitExceeded",
            failed: true,
        });
    });
});
