"use strict";
// A dependent is updated when a value that it takes changes.
const { resource, step } = require("./resources");
const a = resource("a", { value: `v${step}` });
resource("b", { value: a.stdout });
