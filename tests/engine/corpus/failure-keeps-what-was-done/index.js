"use strict";
// After a failure no step starts, those under way end, and the next run goes on from there.
const { resource, step } = require("./resources");
resource("slow", { create: 'sleep 0.6; echo "create slow" >> "$CASE_LOG"' });
const bad = resource("bad", {
    create: step === 1 ? 'sleep 0.2; echo "it is broken" >&2; exit 3' : 'echo "create bad" >> "$CASE_LOG"',
});
resource("after", {}, { dependsOn: [bad] });
