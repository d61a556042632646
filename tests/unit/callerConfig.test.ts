import * as assert from "node:assert/strict";

import { UserError } from "../../contract/errors";
import { checkCallerConfig } from "../../service/callerConfig";

describe("what a caller may set", () => {
    it("is a pipeline of the service's own project, and no other file of its machine", () => {
        for (const pipeline of ["/dev/ptmx", "../p.yaml", "a/../../p.yaml", "a\n/../../p.yaml", ["p.yaml"]]) {
            assert.throws(
                () => checkCallerConfig({ pipeline }),
                (error: Error) => {
                    assert.ok(error instanceof UserError);
                    assert.match(error.message, /^config: pipeline must be a path in the service's project/);
                    return true;
                },
            );
        }
        checkCallerConfig({});
        checkCallerConfig({ pipeline: "" });
        checkCallerConfig({ pipeline: "pipelines/p.yaml" });
    });
});
