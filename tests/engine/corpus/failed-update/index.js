"use strict";
// A resource whose update fails keeps its old inputs, and is updated again.
const { resource, step } = require("./resources");
resource("a", { value: `v${step}`, update: step === 2 ? "exit 1" : 'echo "update a" >> "$CASE_LOG"' });
