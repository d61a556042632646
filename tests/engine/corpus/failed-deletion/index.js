"use strict";
// A resource whose deletion fails stays in the state and is deleted by the next run.
const { resource, step } = require("./resources");
if (step < 3) {
    resource("a", { delete: 'test -e "$CASE_LOG.ok" || exit 1; echo "delete a" >> "$CASE_LOG"' });
}
if (step === 4) {
    require("node:fs").writeFileSync(`${process.env.CASE_LOG}.ok`, "");
}
