"use strict";
// An old resource that could not be deleted after its replacement is deleted by the next run.
const { resource, step } = require("./resources");
resource("a", { key: step === 1 ? 1 : 2, delete: 'test -e "$CASE_LOG.ok" || exit 1; echo "delete a" >> "$CASE_LOG"' });
if (step === 3) {
    require("node:fs").writeFileSync(`${process.env.CASE_LOG}.ok`, "");
}
